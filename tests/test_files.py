"""Tests of keras_xf.files."""

import pytest

from keras_xf.files import atomic_file


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with atomic_file(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
        # Keras asks for the ending.
        assert aside.suffix == ".keras"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_file(path) as aside:
        aside.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_dead_writer_left_is_overwritten(tmp_path):
    path = tmp_path / "file.txt"
    (tmp_path / ".file.txt").write_text("much longer than the new text")
    with atomic_file(path) as aside:
        aside.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]

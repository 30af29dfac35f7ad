"""Tests of keras_xf.files."""

import pytest

from keras_xf.files import atomic_file
from keras_xf.files import read_names
from keras_xf.files import write_names


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


def test_names_are_lines(tmp_path):
    path = tmp_path / "names.txt"
    write_names(path, ["a b", "", "\u00e4"])
    assert read_names(path) == ["a b", "", "\u00e4"]
    with pytest.raises(ValueError) as error:
        write_names(path, iter(["c", "d\ne"]))
    assert str(error.value) == (
        "`names` must not have ends of lines. Received: name='d\\ne'."
    )
    assert read_names(path) == ["a b", "", "\u00e4"]

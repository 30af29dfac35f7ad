"""Tests of benchmarks.text_parts."""

import lzma

import pytest

from benchmarks.text_parts import split_text


def test_parts_are_whole_lines_in_order(tmp_path):
    lines = [f"line {number}\n".encode() for number in range(1000)]
    path = tmp_path / "text.xz"
    with lzma.open(path, "wb") as file:
        file.writelines(lines)
    folder = split_text(path, tmp_path / "parts")
    parts = [
        (folder / f"{name}.txt").read_bytes()
        for name in ("train", "validation", "test")
    ]
    assert b"".join(parts) == b"".join(lines)
    assert all(part.endswith(b"\n") for part in parts)
    shares = [len(part) / len(b"".join(lines)) for part in parts]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.002)
    assert split_text(path, tmp_path / "parts") == folder
    other = tmp_path / "other.txt"
    other.write_bytes(b"".join(reversed(lines)))
    assert split_text(other, tmp_path / "parts") != folder


def test_rejects_a_text_without_lines(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one line alone\n")
    with pytest.raises(ValueError) as error:
        split_text(path, tmp_path)
    assert str(error.value) == (
        "`path` must have lines enough for three parts. Received: "
        f"path={str(path)!r}, bytes=15."
    )


def test_a_folder_of_parts_is_taken_as_it_is(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "train.txt").write_bytes(b"one\ntwo\n")
    with lzma.open(folder / "valid.txt.xz", "wb") as file:
        file.write(b"three\n")
    with pytest.raises(ValueError) as error:
        split_text(folder, tmp_path / "parts")
    assert str(error.value) == (
        "`path` must hold one file test or test_2016_flickr. Received: "
        f"path={str(folder)!r}, found=[]."
    )
    (folder / "test.txt").write_bytes(b"four\n")
    parts = split_text(folder, tmp_path / "parts")
    contents = {path.name: path.read_bytes() for path in parts.iterdir()}
    assert contents == {
        "train.txt": b"one\ntwo\n",
        "validation.txt": b"three\n",
        "test.txt": b"four\n",
    }


def test_a_folder_of_two_languages(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for part in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de", "fr"):
            path = folder / f"{part}.{language}.xz"
            with lzma.open(path, "wb") as file:
                file.write(f"{part} {language}\n".encode())
    parts = split_text(folder, tmp_path / "parts", ("en", "de"))
    assert sorted(path.name for path in parts.iterdir()) == sorted(
        f"{part}.{language}"
        for part in ("train", "validation", "test")
        for language in ("en", "de")
    )
    assert (parts / "validation.de").read_text() == "val de\n"
    (folder / "val.de.xz").unlink()
    with pytest.raises(ValueError) as error:
        split_text(folder, tmp_path / "parts", ("en", "de"))
    assert str(error.value) == (
        "`path` must hold one file validation.de or valid.de or val.de. "
        f"Received: path={str(folder)!r}, found=[]."
    )
    with pytest.raises(ValueError) as error:
        split_text(folder / "val.en.xz", tmp_path / "parts", ("en",))
    assert "`path` must be a folder where there are `languages`." in str(
        error.value
    )

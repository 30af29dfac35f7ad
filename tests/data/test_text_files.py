"""Tests of keras_xf.data.text_files."""

import gzip
import lzma

import numpy as np
import pytest

from keras_xf.data.text_files import read_documents

TEXT = "Fünf\r\nZeilen\0\n".encode() * 50


def test_files_are_read_whole_and_in_order(tmp_path):
    (tmp_path / "b.txt").write_bytes(TEXT)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"gzip"))
    (tmp_path / "c.xz").write_bytes(lzma.compress(b"xz"))
    # Bytes that are no UTF-8 are text all the same.
    (tmp_path / "raw").write_bytes(b"\xff")
    names = ["b.txt", "raw", "c.xz", "a.txt.gz", "b.txt"]
    documents = read_documents([tmp_path / name for name in names])
    assert documents == [TEXT, b"\xff", b"xz", b"gzip", TEXT]
    assert read_documents([str(tmp_path / "raw")]) == [b"\xff"]


def test_missing_file_is_named(tmp_path):
    good = tmp_path / "good"
    good.write_bytes(b"x")
    for name in ("plain", "zipped.gz", "zipped.xz"):
        path = tmp_path / name
        with pytest.raises(ValueError) as error:
            read_documents([good, path])
        reason = f"[Errno 2] No such file or directory: '{path}'"
        assert str(error.value) == (
            "`paths` must name files that can be read. "
            f"Received: path={str(path)!r}, error={reason!r}."
        )


def test_folder_is_named(tmp_path):
    with pytest.raises(ValueError) as error:
        read_documents([tmp_path])
    reason = f"[Errno 21] Is a directory: '{tmp_path}'"
    assert str(error.value) == (
        "`paths` must name files that can be read. "
        f"Received: path={str(tmp_path)!r}, error={reason!r}."
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.txt", b""),
        ("zipped.gz", b""),
        ("zipped.gz", gzip.compress(b"", mtime=0)),
        ("zipped.xz", lzma.compress(b"")),
    ],
)
def test_empty_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_documents([path])
    assert str(error.value) == (
        f"`paths` must name files with content. Received: path={str(path)!r}."
    )


def damage(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


# What cannot be compressed, so that damage in the middle is damage to the data.
NOISE = np.random.default_rng(0).bytes(1000)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.gz", b"text", "Not a gzipped file (b'te')"),
        (
            "a.gz",
            gzip.compress(TEXT, mtime=0)[:-9],
            "Compressed file ended before the end-of-stream marker was reached",
        ),
        ("a.gz", damage(gzip.compress(NOISE, mtime=0)), "CRC check failed"),
        (
            "a.gz",
            gzip.compress(TEXT, mtime=0)[:10] + b"\xff" * 20,
            "Error -3 while decompressing data: invalid block type",
        ),
        ("a.xz", b"text", "Input format not supported by decoder"),
        (
            "a.xz",
            lzma.compress(TEXT)[:-9],
            "Compressed file ended before the end-of-stream marker was reached",
        ),
        ("a.xz", damage(lzma.compress(NOISE)), "Corrupt input data"),
    ],
)
def test_broken_file_is_named(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_documents([path])
    message = str(error.value)
    assert message.startswith(
        "`paths` must name files that can be read. "
        f"Received: path={str(path)!r}, error="
    )
    assert reason in message


@pytest.mark.parametrize("paths", [[], "name", b"name"])
def test_rejects_what_is_no_list_of_files(paths):
    with pytest.raises(ValueError) as error:
        read_documents(paths)
    assert str(error.value) == (
        "`paths` must be a list of at least one file. "
        f"Received: paths={paths!r}."
    )

"""Tests of apps.training.text_input."""

import gzip
import lzma

import pytest

from apps.training.text_input import read_document


def test_reads_bytes_of_all_three_forms(tmp_path):
    data = b"a\r\n\xff\0"
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.xz").write_bytes(lzma.compress(data))
    for path in tmp_path.iterdir():
        assert read_document(str(path), "files") == data


def test_names_the_option_the_file_and_the_cause(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"text")[:15])
    (tmp_path / "none.xz").write_bytes(b"text")
    gone = str(tmp_path / "gone")
    causes = {
        "gone": f"[Errno 2] No such file or directory: {gone!r}",
        "empty": "empty",
        "cut.gz": "Compressed file ended before the end-of-stream marker was "
        "reached",
        "none.xz": "Input format not supported by decoder",
    }
    for name, cause in causes.items():
        path = str(tmp_path / name)
        with pytest.raises(ValueError) as error:
            read_document(path, "some_files")
        assert str(error.value) == (
            "`some_files` must name files that can be read and are not empty. "
            f"Received: path={path!r}, error={cause!r}."
        )

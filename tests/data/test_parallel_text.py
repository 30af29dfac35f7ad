"""Tests of keras_xf.data.parallel_text."""

import gzip
import re

import pytest

from keras_xf.data.parallel_text import read_lines
from keras_xf.data.parallel_text import read_parallel_lines


def test_lines_end_with_a_line_feed_and_nothing_else(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("a\r\n\nb\x0bc\u2028d\x85\n  e ".encode())
    assert read_lines([path]) == ["a", "", "b\x0bc\u2028d\x85", "  e "]
    other = tmp_path / "other.gz"
    other.write_bytes(gzip.compress(b"f\n"))
    assert read_lines([path, other])[-1] == "f"


def test_pairs_stay_aligned(tmp_path):
    for name, text in {"1.de": "ein\n\ndrei", "2.de": "vier\n"}.items():
        (tmp_path / name).write_text(text)
    for name, text in {"1.en": "one\ntwo\n\n", "2.en": "four"}.items():
        (tmp_path / name).write_text(text)
    sources, targets = read_parallel_lines(
        [tmp_path / "1.de", tmp_path / "2.de"],
        [tmp_path / "1.en", tmp_path / "2.en"],
    )
    assert list(zip(sources, targets, strict=True)) == [
        *(("ein", "one"), ("", "two"), ("drei", ""), ("vier", "four")),
    ]


def test_lines_without_a_partner_are_named(tmp_path):
    source, target = tmp_path / "de", tmp_path / "en"
    source.write_text("a\nb\nc\n")
    target.write_text("a\nb\n")
    with pytest.raises(ValueError) as error:
        read_parallel_lines([source], [target])
    assert str(error.value) == (
        "`source_paths` and `target_paths` must have as many lines. Received: "
        f"lines={{'{source}': 3, '{target}': 2}}, first_without_a_partner=3."
    )
    with pytest.raises(ValueError, match="must be as many"):
        read_parallel_lines([source], [])


def test_what_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes("gut\nschön\n".encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(f"path='{path}', line=2")):
        read_lines([path])

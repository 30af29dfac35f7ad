"""Tests of keras_xf.data.labeled_texts."""

import numpy as np
import pytest

from keras_xf.data.labeled_texts import LabeledTexts
from keras_xf.data.labeled_texts import parse_labeled_texts


def test_lines_are_labels_and_texts_with_escapes():
    content = (
        b"cat\tmeow\n\nh\xc3\xb6und\ta\\nb\\tc\\rd\\\\n\\x\te \xff\r\ncat\t"
    )
    read = parse_labeled_texts(content, "a.tsv")
    assert read == LabeledTexts(
        ["cat", "höund", "cat"],
        [b"meow", b"a\nb\tc\rd\\n\\x\te \xff", b""],
    )
    assert read.classes == ["cat", "höund"]
    assert read.num_bytes == 4 + 15
    np.testing.assert_array_equal(
        read.class_ids(["ant", "cat", "höund"]), [1, 2, 1]
    )
    assert read.class_ids(["cat", "höund"]).dtype == np.int32


@pytest.mark.parametrize(
    "line", [b"no tab", b"\ttext", b"\xff\ttext", b"a\rb\ttext"]
)
def test_a_line_that_is_none_is_told(line):
    with pytest.raises(ValueError) as error:
        parse_labeled_texts(b"a\tb\n\n" + line, "a.tsv", "train_files")
    assert str(error.value) == (
        "`train_files` must name files whose lines are a printable label in "
        "UTF-8, a tab and a text. Received: path='a.tsv', line=3."
    )


def test_a_file_without_lines_is_told():
    with pytest.raises(ValueError) as error:
        parse_labeled_texts(b"\n\r\n", "a.tsv")
    assert str(error.value) == (
        "`path` must name files that have lines. Received: path='a.tsv'."
    )


def test_unknown_labels_are_told():
    with pytest.raises(ValueError) as error:
        LabeledTexts(["a", "b", "c"], [b"", b"", b""]).class_ids(["b"])
    assert str(error.value) == (
        "`classes` must hold all labels. "
        "Received: classes=['b'], unknown=['a', 'c']."
    )


def test_the_hash_tells_texts_and_labels_apart():
    variants = [
        LabeledTexts(["a", "b"], [b"c", b"d"]),
        LabeledTexts(["b", "a"], [b"c", b"d"]),
        LabeledTexts(["a", "b"], [b"d", b"c"]),
        LabeledTexts(["a", "b"], [b"c", b"de"]),
        LabeledTexts(["a"], [b"c"]),
        LabeledTexts(["ab", "c"], [b"", b"d"]),
        LabeledTexts(["a", "bc"], [b"", b"d"]),
    ]
    assert len({texts.sha256 for texts in variants}) == len(variants)
    assert LabeledTexts(["a", "b"], [b"c", b"d"]).sha256 == variants[0].sha256

"""Files of texts with a label each."""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_xf.checks import check

_ESCAPE = re.compile(rb"\\([tnr\\])")
_ESCAPED = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


@dataclasses.dataclass(frozen=True)
class LabeledTexts:
    """Texts and the label of each.

    Attributes:
        labels: A label for each text.
        texts: The bytes of each text.
    """

    labels: list[str]
    texts: list[bytes]

    @property
    def num_bytes(self) -> int:
        """Bytes of all texts together."""
        return sum(map(len, self.texts))

    @property
    def classes(self) -> list[str]:
        """The different labels, in order."""
        return sorted(set(self.labels))

    @property
    def sha256(self) -> str:
        """Tells these from other texts, or from these with other labels."""
        digest = hashlib.sha256()
        for label, text in zip(self.labels, self.texts, strict=True):
            for part in (label.encode(), text):
                # With its size, or parts could change places unnoticed.
                digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    def class_ids(self, classes: Sequence[str]) -> np.ndarray:
        """Returns the place of each text's label in a list, int32 `(texts,)`.

        Args:
            classes: The labels that there are.

        Raises:
            ValueError: If a label is none of them.
        """
        unknown = sorted(set(self.labels) - set(classes))
        check(
            not unknown,
            "`classes` must hold all labels.",
            classes=list(classes),
            unknown=unknown,
        )
        places = {name: place for place, name in enumerate(classes)}
        return np.array([places[label] for label in self.labels], np.int32)


def parse_labeled_texts(
    content: bytes, path: str | Path, argument: str = "path"
) -> LabeledTexts:
    r"""Reads tab-separated values: a text a line, after its label.

    A line is a label, a tab and a text, without a header. In the text, the four
    escapes of "linear TSV" (the text format of PostgreSQL's COPY) stand for
    what would end it: `\t` for a tab, `\n` and `\r` for ends of lines, `\\`
    for a backslash. Another backslash is itself, and so is another tab. Empty
    lines are passed over.

    Args:
        content: What the file holds.
        path: The file, for the error message.
        argument: What names the file, for the error message.

    Raises:
        ValueError: If a line has no tab, or a label that is empty or cannot be
            printed, or if there is no line.
    """
    labels, texts = [], []
    for number, line in enumerate(content.split(b"\n"), start=1):
        line = line.removesuffix(b"\r")
        if line:
            label, text = _read_line(line)
            check(
                label.isprintable() and label,
                f"`{argument}` must name files whose lines are a printable "
                "label in UTF-8, a tab and a text.",
                path=str(path),
                line=number,
            )
            labels.append(label)
            texts.append(text)
    check(
        texts,
        f"`{argument}` must name files that have lines.",
        path=str(path),
    )
    return LabeledTexts(labels, texts)


def _read_line(line):
    """Returns label and text; no label if it is not one."""
    label, tab, text = line.partition(b"\t")
    try:
        label = label.decode() if tab else ""
    except UnicodeDecodeError:
        label = ""
    return label, _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text)

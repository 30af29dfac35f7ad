"""The texts that a classifier learns from, and is held to."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apps.training.text_input import read_document
from keras_xf.checks import check
from keras_xf.data.labeled_texts import LabeledTexts
from keras_xf.data.labeled_texts import parse_labeled_texts
from keras_xf.data.standard_library_packages import standard_library_packages
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleOptions:
    """Options that say which texts are read.

    Without any, the source files of Python's own standard library are labeled
    with their package and split by file.
    """

    # Texts.
    train_files: tuple[str, ...] = option(
        "Files to learn from, plain, .gz or .xz. Each line is a label, a tab "
        "and a text, in which \\n, \\r, \\t and \\\\ stand for ends of lines, "
        "tabs and backslashes. Python's standard library, split by file into "
        "all three parts, if empty.",
        (),
    )
    validation_files: tuple[str, ...] = option(
        "Such files to choose the best model by; no validation if empty.", ()
    )
    test_files: tuple[str, ...] = option(
        "Held-out files of this kind, read by evaluate and report alone.", ()
    )
    min_package_files: int = option(
        "Fewest source files of a package of the standard library that is a "
        "class.",
        8,
    )

    def __post_init__(self):
        check(
            self.train_files or not self.validation_files,
            "`validation_files` must be empty unless there are `train_files`.",
            validation_files=self.validation_files,
        )
        check(
            self.min_package_files >= 3,
            "`min_package_files` must be at least 3.",
            min_package_files=self.min_package_files,
        )

    def read(self, split: str) -> LabeledTexts | None:
        """Reads the texts of "train", "validation" or "test".

        Args:
            split: The part.

        Returns:
            The texts, None if no file is named.

        Raises:
            ValueError: If a file is missing, broken or not of this form.
        """
        flag = f"{split}_files"
        named = getattr(self, flag)
        if named:
            return read_files(named, flag)
        if self.train_files:
            return None
        files = standard_library_packages(min_files=self.min_package_files)
        return LabeledTexts(
            labels=[package for package, _ in files[split]],
            texts=[read_document(str(path), flag) for _, path in files[split]],
        )


def read_files(paths: Sequence[str | Path], flag: str) -> LabeledTexts:
    """Reads files of labels and texts.

    Args:
        paths: At least one file.
        flag: The option that names them, for the error message.

    Raises:
        ValueError: If a file is missing, broken or not of this form.
    """
    parts = [
        parse_labeled_texts(read_document(str(path), flag), path, flag)
        for path in paths
    ]
    return LabeledTexts(
        labels=[label for part in parts for label in part.labels],
        texts=[text for part in parts for text in part.texts],
    )


def class_ids(
    texts: LabeledTexts, classes: Sequence[str], flag: str
) -> np.ndarray:
    """Returns the place of each text's label among the classes.

    Args:
        texts: The texts.
        classes: The labels that the model knows.
        flag: The option that names the files, for the error message.

    Raises:
        ValueError: If a label is none of them.
    """
    unknown = sorted(set(texts.labels) - set(classes))
    check(
        not unknown,
        f"`{flag}` must have no labels that there are none of to learn from.",
        unknown=unknown,
        known=list(classes),
    )
    return texts.class_ids(classes)

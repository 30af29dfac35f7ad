"""The text that a language model learns from, and is held to."""

import dataclasses
import hashlib

import numpy as np

from apps.training.text_input import read_document
from keras_xf.checks import check
from keras_xf.data.standard_library import standard_library_files
from keras_xf.data.token_streams import documents_to_ids
from keras_xf.launch import option
from keras_xf.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """Options that say which files are read.

    Without any, the source files of Python's own standard library are split
    by file.
    """

    # Text.
    train_files: tuple[str, ...] = option(
        "Text files to learn from, plain, .gz or .xz; Python's standard "
        "library, split by file into all three parts, if empty.",
        (),
    )
    validation_files: tuple[str, ...] = option(
        "Text files to choose the best model by; no validation if empty.", ()
    )
    test_files: tuple[str, ...] = option(
        "Held-out text files, read by evaluate and report alone.", ()
    )

    def __post_init__(self):
        check(
            self.train_files or not self.validation_files,
            "`validation_files` must be empty unless there are `train_files`.",
            validation_files=self.validation_files,
        )

    def files(self, split: str) -> list[str]:
        """The files of "train", "validation" or "test"; the default's if none.

        Args:
            split: The part of the corpus.
        """
        named = list(getattr(self, f"{split}_files"))
        if named or self.train_files:
            return named
        return [str(path) for path in standard_library_files()[split]]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents, as bytes and as one stream of tokens.

    Attributes:
        documents: The bytes of each file.
        token_ids: The stream, with an `EOS` after each document.
    """

    documents: list[bytes]
    token_ids: np.ndarray

    @property
    def num_bytes(self) -> int:
        """Bytes of all documents together."""
        return sum(map(len, self.documents))

    @property
    def sha256(self) -> str:
        """Tells one stream from another."""
        return hashlib.sha256(self.token_ids.tobytes()).hexdigest()


def read_corpus(files: list[str], tokenizer: Tokenizer, flag: str) -> Corpus:
    """Reads files, each a document.

    Args:
        files: Paths of at least one file.
        tokenizer: Makes the token ids.
        flag: The option that names the files, for the error message.

    Raises:
        ValueError: If a file is missing, broken or empty.
    """
    documents = [read_document(path, flag) for path in files]
    return Corpus(documents, documents_to_ids(documents, tokenizer))

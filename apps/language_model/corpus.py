"""The text that a language model learns from, and is held to."""

import dataclasses
import hashlib
from typing import Literal

import numpy as np

from apps.training.text_input import read_document
from keras_xf.checks import check
from keras_xf.data.standard_library import standard_library_files
from keras_xf.data.token_streams import documents_to_ids
from keras_xf.launch import option
from keras_xf.text import ByteTokenizer
from keras_xf.text import Tokenizer
from keras_xf.text import WordTokenizer
from keras_xf.text.special_ids import NUM_SPECIAL_IDS


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
    tokenizer: Literal["bytes", "words"] = option(
        "Tokens: the bytes of the text, or its words and ends of lines.",
        "bytes",
    )
    vocabulary_size: int | None = option(
        "Words: most token ids, special ids included, for the most frequent "
        "words of the train files; all words if none.",
        None,
    )

    def __post_init__(self):
        check(
            self.train_files or not self.validation_files,
            "`validation_files` must be empty unless there are `train_files`.",
            validation_files=self.validation_files,
        )
        check(
            self.vocabulary_size is None or self.tokenizer == "words",
            "`vocabulary_size` must be none unless `tokenizer` is words.",
            vocabulary_size=self.vocabulary_size,
            tokenizer=self.tokenizer,
        )
        check(
            self.vocabulary_size is None
            or self.vocabulary_size > NUM_SPECIAL_IDS,
            f"`vocabulary_size` must exceed the {NUM_SPECIAL_IDS} special ids.",
            vocabulary_size=self.vocabulary_size,
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

    def make_tokenizer(self, documents: list[bytes]) -> Tokenizer:
        """Makes the tokenizer, with the words of the documents if it has any.

        Args:
            documents: The text to learn from.

        Raises:
            ValueError: If there is no word in it.
        """
        if self.tokenizer == "bytes":
            return ByteTokenizer()
        return WordTokenizer.learn(documents, self.vocabulary_size)


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
    def num_characters(self) -> int:
        """Characters of all documents together.

        Each byte or torn character that is not valid UTF-8 counts as one.
        """
        return sum(
            len(document.decode(errors="replace"))
            for document in self.documents
        )

    @property
    def sha256(self) -> str:
        """Tells one stream from another."""
        return hashlib.sha256(self.token_ids.tobytes()).hexdigest()


def read_documents(files: list[str], flag: str) -> list[bytes]:
    """Reads files, each a document.

    Args:
        files: Paths of at least one file.
        flag: The option that names the files, for the error message.

    Raises:
        ValueError: If a file is missing, broken or empty.
    """
    return [read_document(path, flag) for path in files]


def make_corpus(documents: list[bytes], tokenizer: Tokenizer) -> Corpus:
    """Makes a stream of tokens of documents.

    Args:
        documents: At least one.
        tokenizer: Makes the token ids.
    """
    return Corpus(documents, documents_to_ids(documents, tokenizer))


def read_corpus(files: list[str], tokenizer: Tokenizer, flag: str) -> Corpus:
    """Reads files, each a document, and makes a stream of tokens of them.

    Args:
        files: Paths of at least one file.
        tokenizer: Makes the token ids.
        flag: The option that names the files, for the error message.

    Raises:
        ValueError: If a file is missing, broken or empty.
    """
    return make_corpus(read_documents(files, flag), tokenizer)

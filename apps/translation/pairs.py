"""The pairs of lines that a translation model learns from, and is held to."""

import dataclasses
import hashlib
from typing import Literal

import numpy as np

from apps.translation.number_phrases import number_phrases
from keras_xf.checks import check
from keras_xf.data.parallel_text import read_parallel_lines
from keras_xf.launch import option
from keras_xf.text import SentencePieceTokenizer
from keras_xf.text import Tokenizer

_VOCABULARY_SIZE = 8000
_NUMBERS_VOCABULARY_SIZE = 120


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Options that say which files are read, and in which pieces.

    Without any, numbers are spelled in English and in German.
    """

    # Text.
    source_files: tuple[str, ...] = option(
        "Text files to learn from, a sentence a line, plain, .gz or .xz; "
        "numbers in English words, and German ones in all target files, if "
        "empty.",
        (),
    )
    target_files: tuple[str, ...] = option(
        "Their translations, line by line.", ()
    )
    validation_source_files: tuple[str, ...] = option(
        "Files to choose the best model by; no validation if empty.", ()
    )
    validation_target_files: tuple[str, ...] = option("Their translations.", ())
    test_source_files: tuple[str, ...] = option(
        "Held-out files, read by evaluate alone.", ()
    )
    test_target_files: tuple[str, ...] = option("Their translations.", ())
    # Pieces.
    vocabulary_size: int | None = option(
        "Pieces of words; 8000, or 120 for numbers, if none.", None
    )
    vocabulary_kind: Literal["unigram", "bpe"] = option(
        "How SentencePiece learns pieces.", "unigram"
    )
    joint_vocabulary: bool = option(
        "One vocabulary and one table for both languages.", True
    )
    byte_fallback: bool = option(
        "Bytes instead of unknown characters; they take 256 pieces.", False
    )

    def __post_init__(self):
        for prefix in ("", "validation_", "test_"):
            source = getattr(self, f"{prefix}source_files")
            target = getattr(self, f"{prefix}target_files")
            check(
                len(source) == len(target),
                f"`{prefix}source_files` and `{prefix}target_files` must be as "
                "many.",
                **{
                    f"{prefix}source_files": source,
                    f"{prefix}target_files": target,
                },
            )
        check(
            self.source_files or not self.validation_source_files,
            "`validation_source_files` must be empty unless there are "
            "`source_files`.",
            validation_source_files=self.validation_source_files,
        )
        check(
            self.vocabulary_size is None or self.vocabulary_size > 0,
            "`vocabulary_size` must be positive.",
            vocabulary_size=self.vocabulary_size,
        )

    def read(self, split: str) -> "Pairs | None":
        """Reads the pairs of a part.

        Args:
            split: "train", "validation" or "test".

        Returns:
            The pairs; None if the part has no files.

        Raises:
            ValueError: If a file is missing, broken or not UTF-8, or two do
                not have as many lines.
        """
        prefix = "" if split == "train" else f"{split}_"
        sources = getattr(self, f"{prefix}source_files")
        targets = getattr(self, f"{prefix}target_files")
        if sources:
            return Pairs(*read_parallel_lines(sources, targets))
        if self.source_files:
            return None
        return Pairs(*number_phrases(split))

    def make_tokenizers(self, pairs: "Pairs") -> dict[str, Tokenizer]:
        """Learns the pieces of both languages.

        Args:
            pairs: The text to learn from.

        Returns:
            The tokenizers by the folders that they are kept in: `text` for
            both, or `source_text` and `target_text`.
        """
        size = self.vocabulary_size
        if size is None:
            size = _VOCABULARY_SIZE
            if not self.source_files:
                size = _NUMBERS_VOCABULARY_SIZE
        texts = {"source_text": [pairs.sources], "target_text": [pairs.targets]}
        if self.joint_vocabulary:
            texts = {"text": [pairs.sources, pairs.targets]}
        return {
            name: SentencePieceTokenizer.learn(
                ("\n".join(lines).encode() for lines in parts),
                size,
                kind=self.vocabulary_kind,
                byte_fallback=self.byte_fallback,
            )
            for name, parts in texts.items()
        }


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Sentences and their translations.

    Attributes:
        sources: Strings.
        targets: As many strings.
    """

    sources: list[str]
    targets: list[str]

    @property
    def sha256(self) -> str:
        """Tells one text from another."""
        text = "\n".join(self.sources) + "\0" + "\n".join(self.targets)
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, tokenizers: dict[str, Tokenizer]) -> tuple[list, list]:
        """Turns both sides into ids.

        Args:
            tokenizers: What `PairOptions.make_tokenizers` returned.

        Returns:
            Two lists of integer arrays.
        """
        return tuple(
            encode_lines(lines, side_of(tokenizers, side))
            for lines, side in (
                (self.sources, "source"),
                (self.targets, "target"),
            )
        )


def side_of(tokenizers: dict[str, Tokenizer], side: str) -> Tokenizer:
    """Returns the tokenizer of "source" or "target"."""
    return tokenizers.get("text") or tokenizers[f"{side}_text"]


def encode_lines(lines: list[str], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Turns lines into arrays of ids, many at once.

    Args:
        lines: Strings.
        tokenizer: Their tokenizer.
    """
    found = []
    for start in range(0, len(lines), 1000):
        token_ids, length = tokenizer.encode(lines[start : start + 1000])
        found += [
            row[:end]
            for row, end in zip(token_ids.numpy(), length.numpy(), strict=True)
        ]
    return found

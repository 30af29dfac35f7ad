"""Texts as ids of tokens, for clients."""

import json
from collections.abc import Sequence
from pathlib import Path

# Ids that no text has. They are the same for all tokenizers.
PAD, UNK, BOS, EOS, MASK = range(5)
_NUM_SPECIAL_IDS = 5


class ByteText:
    """Bytes as ids, without keras_xf."""

    vocabulary_size = _NUM_SPECIAL_IDS + 256

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return [byte + _NUM_SPECIAL_IDS for byte in text.encode()]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ids; U+FFFD is what is no text."""
        data = bytes(
            token_id - _NUM_SPECIAL_IDS
            for token_id in token_ids
            if token_id >= _NUM_SPECIAL_IDS
        )
        return data.decode(errors="replace")


class LibraryText:
    """The same by a tokenizer of keras_xf.

    Args:
        tokenizer: A `keras_xf.text.Tokenizer`.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self.vocabulary_size = tokenizer.vocabulary_size

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return self._tokenizer.encode_bytes(text.encode()).tolist()

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ids."""
        token_ids = [list(token_ids) or [PAD]]
        text = self._tokenizer.decode(token_ids, [len(token_ids[0])])
        return text.numpy()[0].decode()


def load_text(directory: str | Path) -> ByteText | LibraryText:
    """Reads which tokens a model was trained with.

    Args:
        directory: A folder with a `tokenizer.json`, as is `assets/text` of a
            served version.

    Returns:
        What encodes and decodes. Other tokens than bytes need keras_xf.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is none of a tokenizer.
    """
    content = (Path(directory) / "tokenizer.json").read_text(encoding="utf-8")
    if json.loads(content) == {"class": "ByteTokenizer", "config": {}}:
        return ByteText()
    from keras_xf.text import load_tokenizer

    return LibraryText(load_tokenizer(directory))

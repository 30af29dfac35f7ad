"""Requests of texts, as strings and as the ids of their tokens."""

import numpy as np

from keras_xf.text import Tokenizer
from keras_xf.text import special_ids

SENTENCE = "Once upon a time"


def text_request(tokenizer: Tokenizer, texts: list[str]) -> dict:
    """Makes a request of a row for each text.

    Args:
        tokenizer: The tokenizer of the model.
        texts: The texts, which may be empty.

    Returns:
        A dict of the arrays `token_ids`, `length` and `text`.
    """
    rows = [_encode(tokenizer, text) for text in texts]
    # A server that joins requests takes no tensor without elements.
    width = max([1, *map(len, rows)])
    token_ids = np.full([len(rows), width], special_ids.PAD, np.int32)
    for place, row in enumerate(rows):
        token_ids[place, : len(row)] = row
    return {
        "token_ids": token_ids,
        "length": np.array([len(row) for row in rows], np.int32),
        "text": np.array([text.encode() for text in texts], object),
    }


def unknown_id_request(vocabulary_size: int) -> dict:
    """Makes a request with an id that is not in the vocabulary.

    Args:
        vocabulary_size: Number of token ids.

    Returns:
        A dict of the arrays `token_ids` and `length`.
    """
    return {
        "token_ids": np.array([[vocabulary_size]], np.int32),
        "length": np.array([1], np.int32),
    }


def longest_text(tokenizer: Tokenizer, limit: int) -> str:
    """Returns as much of `SENTENCE` as has no more tokens than the limit.

    Args:
        tokenizer: The tokenizer of the model.
        limit: Most tokens.
    """
    text = SENTENCE
    while text and len(_encode(tokenizer, text)) > limit:
        text = text[:-1]
    return text.rstrip()


def count_tokens(tokenizer: Tokenizer, text: str) -> int:
    """Returns the number of tokens of a text."""
    return len(_encode(tokenizer, text))


def _encode(tokenizer, text):
    return tokenizer.encode_bytes(text.encode())

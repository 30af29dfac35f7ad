"""Tokens that a model must not write."""

import numpy as np
import tensorflow as tf

from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import MASK
from keras_xf.text.special_ids import NUM_SPECIAL_IDS
from keras_xf.text.special_ids import PAD
from keras_xf.text.special_ids import UNK
from keras_xf.text.tokenizer import Tokenizer

# All special ones but the end.
UNWRITTEN_IDS = (PAD, UNK, BOS, MASK)
# Ends of lines, and what keeps columns apart.
_BREAKS = (b"\n", b"\r", b"\t")


def ids_that_break_lines(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that stand for an end of a line or a tab.

    A model that writes bytes can write these: the one line that a sentence
    becomes would be two.

    Args:
        tokenizer: Any; special tokens are no text.
    """
    ids = np.arange(NUM_SPECIAL_IDS, tokenizer.vocabulary_size)
    texts = tokenizer.decode(
        tf.constant(ids[:, None], tf.int32), tf.ones_like(ids, tf.int32)
    ).numpy()
    return tuple(
        int(token_id)
        for token_id, text in zip(ids, texts, strict=True)
        if any(end in text for end in _BREAKS)
    )


def unwritten_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that a model that writes lines is never to write.

    Args:
        tokenizer: That of the lines.
    """
    return (*UNWRITTEN_IDS, *ids_that_break_lines(tokenizer))

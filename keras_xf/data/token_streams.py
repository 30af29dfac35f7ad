"""Documents to one stream of token ids, and pieces of it to batches."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import PAD
from keras_xf.text.tokenizer import Tokenizer


def documents_to_ids(
    documents: Sequence[bytes], tokenizer: Tokenizer
) -> np.ndarray:
    """Joins documents to one stream, with `EOS` after each of them.

    Args:
        documents: The documents' bytes. An empty one leaves its `EOS` alone.
        tokenizer: Its `encode_bytes` makes the ids.

    Returns:
        Array `(length,)`, uint16 if the vocabulary allows it, else int32.

    Raises:
        ValueError: If there is no document.
    """
    check(
        len(documents) > 0,
        "`documents` must have at least one document.",
        documents=documents,
    )
    small = tokenizer.vocabulary_size <= 2**16
    dtype = np.uint16 if small else np.int32
    pieces = []
    for document in documents:
        pieces.append(tokenizer.encode_bytes(document).astype(dtype))
        pieces.append(np.array([EOS], dtype))
    return np.concatenate(pieces)


def to_stream(token_ids):
    """Checks a stream and puts it where `tf.data` works.

    Args:
        token_ids: Integer array `(length,)`, kept in its dtype.

    Raises:
        ValueError: If it is empty or no integer array of rank 1.
    """
    token_ids = np.asarray(token_ids)
    check(
        token_ids.ndim == 1 and np.issubdtype(token_ids.dtype, np.integer),
        "`token_ids` must be an integer array of shape (length,).",
        shape=token_ids.shape,
        dtype=str(token_ids.dtype),
    )
    check(
        token_ids.size > 0,
        "`token_ids` must have at least one token.",
        shape=token_ids.shape,
    )
    # Without this a GPU would hold the corpus, and copy it back each batch.
    with tf.device("CPU:0"):
        return tf.constant(token_ids)


def cut_pieces(stream, start, stop, length: int, continues=False):
    """Cuts one piece a row out of a stream, as a language model reads it.

    A row's targets are the tokens of its piece. Its inputs are the same moved
    by one, after `BOS` or after the token before the piece. A piece shorter
    than `length` is filled with `PAD`.

    Args:
        stream: What `to_stream` returned.
        start: int64 tensor `(batch,)`, the position of each piece's first
            token.
        stop: int64 tensor `(batch,)`, the position after its last one. A row
            that stops where it starts, or before, has no token.
        length: Width of the batch.
        continues: Boolean scalar, or `(batch,)`, whether the first input is the
            token before the piece.

    Returns:
        The batch and the positions that it shows.

        - `inputs`: `token_ids` int32 `(batch, length)` and `length` int32
          `(batch,)`. A row without tokens still has length 1: no row leaves
          a softmax without entries.
        - `targets`: `logits` int32 `(batch, length)`.
        - positions in the stream, int64 `(batch, length)`.
    """
    offsets = tf.range(length, dtype=tf.int64)
    positions = start[:, tf.newaxis] + offsets
    tokens = _tokens_at(stream, positions)
    targets = tf.where(positions < stop[:, tf.newaxis], tokens, PAD)

    first = tf.where(continues, _tokens_at(stream, start - 1), BOS)
    token_ids = tf.concat([first[:, tf.newaxis], tokens[:, :-1]], axis=1)
    row_length = tf.maximum(stop - start, 1)
    is_input = offsets < row_length[:, tf.newaxis]
    inputs = {
        "token_ids": tf.where(is_input, token_ids, PAD),
        "length": tf.cast(row_length, tf.int32),
    }
    return inputs, {"logits": targets}, positions


def endless(make_batch, first_step: int) -> tf.data.Dataset:
    """Returns the endless data set of `make_batch(step)` from a step on.

    It equals that from step 0 after `skip(first_step)`, without the wait.

    Args:
        make_batch: A function of an int64 scalar, called in a graph.
        first_step: The first step.

    Raises:
        ValueError: If the first step is negative.
    """
    check(
        first_step >= 0,
        "`first_step` must not be negative.",
        first_step=first_step,
    )
    steps = tf.data.Dataset.counter(first_step)
    return steps.map(make_batch).prefetch(tf.data.AUTOTUNE)


def check_sizes(**sizes: int) -> None:
    """Raises `ValueError` for a size below one, by argument name."""
    for name, size in sizes.items():
        check(size > 0, f"`{name}` must be positive.", **{name: size})


def _tokens_at(stream, positions):
    last = tf.size(stream, out_type=tf.int64) - 1
    positions = tf.clip_by_value(positions, 0, last)
    return tf.cast(tf.gather(stream, positions), tf.int32)

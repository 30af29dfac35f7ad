"""What tokenizers are called with, checked."""

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text.special_ids import PAD


def to_text(text):
    """Returns a string tensor `(batch,)`.

    Args:
        text: What `Tokenizer.encode` is called with.

    Raises:
        ValueError: If it is no string tensor of rank 1.
    """
    text = tf.convert_to_tensor(text)
    check(
        text.dtype == tf.string and text.shape.rank in (None, 1),
        "`text` must be a string tensor of shape (batch,).",
        dtype=text.dtype.name,
        shape=text.shape,
    )
    return tf.ensure_shape(text, [None])


def to_token_ids(token_ids, length):
    """Returns an int64 tensor `(..., length)`, `PAD` behind the end of a row.

    Args:
        token_ids: What `Tokenizer.decode` is called with.
        length: The same.

    Raises:
        ValueError: If a dtype is no integer or the shapes do not fit.
    """
    token_ids = tf.convert_to_tensor(token_ids)
    length = tf.convert_to_tensor(length)
    check(
        token_ids.dtype.is_integer and length.dtype.is_integer,
        "`token_ids` and `length` must be integer tensors.",
        token_ids=token_ids.dtype.name,
        length=length.dtype.name,
    )
    check(
        token_ids.shape.rank != 0
        and token_ids.shape[:-1].is_compatible_with(length.shape),
        "`length` must have the shape of `token_ids` without its last axis.",
        token_ids=token_ids.shape,
        length=length.shape,
    )
    mask = tf.sequence_mask(length, maxlen=tf.shape(token_ids)[-1])
    return tf.where(mask, tf.cast(token_ids, tf.int64), PAD)

"""Prompts made ready for decoding."""

import tensorflow as tf

from keras_xf.text.special_ids import BOS


def prepend_bos(token_ids, length, bos_id: int = BOS):
    """Puts BOS before each prompt, so that an empty one can be continued.

    Args:
        token_ids: Integer tensor `(batch, length)`; the length may be 0.
        length: Integer tensor `(batch,)`: how many tokens of a row are real,
            0 or more.
        bos_id: Id to prepend. The default is the project's.

    Returns:
        `token_ids`, int32 `(batch, length + 1)`, and `length`, int32
        `(batch,)`, each one longer.
    """
    token_ids = tf.cast(token_ids, tf.int32)
    first = tf.fill([tf.shape(token_ids)[0], 1], bos_id)
    return tf.concat([first, token_ids], axis=1), tf.cast(length, tf.int32) + 1

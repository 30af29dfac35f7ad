"""Beam search for what a source becomes."""

from collections.abc import Callable

import tensorflow as tf

from keras_xf.decoding.beam_search import beam_search
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import PAD


def translate(
    step: Callable,
    initial_state: Callable,
    source_ids,
    source_length,
    *,
    max_new_tokens: int,
    **options,
) -> dict:
    """Reads sources and searches for their targets.

    A source is followed by EOS, as in training; one without tokens becomes
    nothing, with a score of 0.

    Args:
        step: Step function, which finds the source in its state under
            `source`.
        initial_state: Makes the state of `source_ids`, `source_length` and the
            number of positions that it has to have room for.
        source_ids: Integer tensor `(batch, source_length)`. What stands behind
            a row's length is ignored.
        source_length: Integer tensor `(batch,)`.
        max_new_tokens: Most tokens of a target, EOS counted.
        **options: As `beam_search` takes them.

    Returns:
        What `beam_search` returns.
    """
    source_length = tf.cast(source_length, tf.int32)
    source_ids = tf.pad(tf.cast(source_ids, tf.int32), [[0, 0], [0, 1]])
    place = tf.range(tf.shape(source_ids)[1])
    length = source_length[:, tf.newaxis]
    source_ids = tf.where(place == length, EOS, source_ids)
    source_ids = tf.where(place > length, PAD, source_ids)
    batch_size = tf.shape(source_ids)[0]
    results = beam_search(
        step,
        initial_state(source_ids, source_length + 1, max_new_tokens),
        tf.fill([batch_size, 1], BOS),
        tf.ones([batch_size], tf.int32),
        max_new_tokens=max_new_tokens,
        **options,
    )
    is_empty = source_length == 0
    return {
        name: tf.where(
            tf.reshape(is_empty, [-1] + [1] * (tensor.shape.rank - 1)),
            tf.zeros_like(tensor),
            tensor,
        )
        for name, tensor in results.items()
    }

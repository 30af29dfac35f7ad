"""Long sequences, segment by segment: memory is linear in their length."""

from collections.abc import Callable

import tensorflow as tf

from keras_xf.decoding.steps import keep_state_alike
from keras_xf.decoding.steps import run_step


def read_segments(
    step: Callable, state, token_ids, length, *, segment_length: int
):
    """Lets a state see whole rows, some of their tokens at a time.

    It is for steps whose results do not depend on how a row is cut.

    Args:
        step: Step function; the package's docstring states the contract.
        state: Nested structure of tensors.
        token_ids: int32 tensor `(batch, n)`, of which `n` may be 0.
        length: int32 tensor `(batch,)`, how many of a row are real.
        segment_length: Most tokens to read at once. All segments are about as
            long.

    Returns:
        The state after the real tokens.
    """
    token_ids, number, size = _cut(token_ids, segment_length)

    def read(index, state):
        part, part_length = _part(token_ids, length, index, size)
        return index + 1, run_step(step, state, part, part_length)[1]

    _, state = tf.while_loop(
        lambda index, _: index < number, read, (tf.constant(0), state)
    )
    return state


def score_segments(
    nll: Callable, state, token_ids, target_ids, length, *, segment_length: int
):
    """Scores targets of whole rows, some of their tokens at a time.

    Args:
        nll: Called as `nll(token_ids, state, target_ids, length)`, gives minus
            the log-probability of each target, `(batch, n)`, and the next
            state; otherwise like a step function.
        state: Nested structure of tensors.
        token_ids: int32 tensor `(batch, n)`, of which `n` may be 0.
        target_ids: int32 tensor `(batch, n)`, what comes after each token.
        length: int32 tensor `(batch,)`, how many of a row are real.
        segment_length: Most tokens to score at once. All segments are about as
            long.

    Returns:
        Float32 tensor `(batch, n)`, minus the log-probabilities; of no meaning
        behind the length.
    """
    width = tf.shape(token_ids)[1]
    token_ids, number, size = _cut(token_ids, segment_length)
    target_ids, _, _ = _cut(target_ids, segment_length)

    def score(index, scores, state):
        part, part_length = _part(token_ids, length, index, size)
        targets, _ = _part(target_ids, length, index, size)
        nats, next_state = nll(part, state, targets, part_length)
        scores = scores.write(index, tf.cast(nats, tf.float32))
        return index + 1, scores, keep_state_alike(state, next_state)

    scores = tf.TensorArray(
        tf.float32, size=number, element_shape=[token_ids.shape[0], None]
    )
    _, scores, _ = tf.while_loop(
        lambda index, *_: index < number,
        score,
        (tf.constant(0), scores, state),
    )
    by_row = tf.transpose(scores.stack(), [1, 0, 2])
    shape = [tf.shape(token_ids)[0], number * size]
    return tf.reshape(by_row, shape)[:, :width]


def _cut(token_ids, segment_length):
    """Pads rows to whole segments.

    Returns:
        The rows, the number of segments, which is one at least, and their
        length.
    """
    width = tf.shape(token_ids)[1]
    number = tf.maximum((width + segment_length - 1) // segment_length, 1)
    size = (width + number - 1) // number
    padding = [[0, 0], [0, number * size - width]]
    return tf.pad(token_ids, padding), number, size


def _part(token_ids, length, index, size):
    start = index * size
    part = token_ids[:, start : start + size]
    return part, tf.clip_by_value(length - start, 0, size)

"""Tests of keras_xf.decoding.segments."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import read_segments
from keras_xf.decoding import score_segments

ROWS = np.array([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]], "int32")


class Sums:
    """Sums what it reads; a target costs the sum up to its token."""

    def __init__(self):
        self.widths = []

    def step(self, token_ids, state, length):
        self.widths.append(token_ids.shape[1])
        is_real = tf.sequence_mask(length, maxlen=tf.shape(token_ids)[1])
        sums = tf.cumsum(tf.where(is_real, token_ids, 0), axis=1)
        sums += state["sum"][:, tf.newaxis]
        # Behind the last real token all sums are that one.
        last = tf.concat([state["sum"][:, tf.newaxis], sums], axis=1)[:, -1]
        return tf.cast(sums, tf.float32)[..., tf.newaxis], {"sum": last}

    def nll(self, token_ids, state, target_ids, length):
        sums, state = self.step(token_ids, state, length)
        return sums[..., 0] * tf.cast(target_ids, tf.float32), state


def blank():
    return {"sum": tf.constant([100, 200])}


@pytest.mark.parametrize("segment_length", [1, 2, 3, 6, 7, 100])
@pytest.mark.parametrize("in_graph", [False, True])
def test_rows_are_read_to_their_ends(segment_length, in_graph):
    sums = Sums()

    def read(token_ids, length):
        return read_segments(
            sums.step,
            blank(),
            token_ids,
            length,
            segment_length=segment_length,
        )["sum"]

    if in_graph:
        read = tf.function(
            read,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ],
        )
    for length in ([7, 4], [3, 7], [0, 1]):
        expected = [
            100 * (row + 1) + ROWS[row, :size].sum()
            for row, size in enumerate(length)
        ]
        result = read(tf.constant(ROWS), tf.constant(length))
        np.testing.assert_array_equal(result, expected)
    none = read(tf.zeros([2, 0], tf.int32), tf.constant([0, 0]))
    np.testing.assert_array_equal(none, [100, 200])
    if not in_graph:
        assert max(sums.widths) <= segment_length


@pytest.mark.parametrize("segment_length", [1, 3, 7, 100])
def test_targets_are_scored_in_their_order(segment_length):
    targets = ROWS[::-1].copy()
    sums = Sums()

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def score(token_ids, target_ids, length):
        return score_segments(
            sums.nll,
            blank(),
            token_ids,
            target_ids,
            length,
            segment_length=segment_length,
        )

    length = np.array([7, 4], "int32")
    result = score(ROWS, targets, length)
    expected = np.cumsum(ROWS, axis=1) + [[100], [200]]
    assert result.shape == (2, 7)
    for row, size in enumerate(length):
        np.testing.assert_array_equal(
            result[row, :size], (expected * targets)[row, :size]
        )
    assert score(ROWS[:, :0], ROWS[:, :0], length * 0).shape == (2, 0)


def test_a_state_that_changes_is_refused():
    def step(token_ids, state, length):
        del length
        logits = tf.zeros([*token_ids.shape, 3])
        return logits, {"sum": tf.cast(state["sum"], tf.float32)}

    with pytest.raises(ValueError, match="`step` must return a state of"):
        read_segments(
            step,
            blank(),
            tf.constant(ROWS),
            tf.constant([7, 7]),
            segment_length=3,
        )

"""Tests of keras_xf.decoding.filters."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import keep_nucleus
from tests.decoding import oracles


def random_weights(vocabulary_size, spread):
    """Weights of three rows, the greatest 1, from flat to steep."""
    logits = np.random.default_rng(vocabulary_size).normal(
        scale=spread, size=(3, vocabulary_size)
    )
    return np.exp(logits - logits.max(axis=1, keepdims=True)).astype("float32")


def assert_keeps_the_nucleus(filtered, weights, top_p):
    for row, row_weights, row_top_p in zip(
        np.asarray(filtered), weights, top_p, strict=True
    ):
        row_weights = row_weights.astype("float64")
        members = oracles.nucleus(row_weights / row_weights.sum(), row_top_p)
        assert set(np.flatnonzero(row)) == set(members)
        np.testing.assert_array_equal(row[members], row_weights[members])


# With 2000 tokens the nuclei of steep rows fit among the few that are looked
# at first, those of flat rows do not.
@pytest.mark.parametrize(
    ("vocabulary_size", "spread", "mode"),
    [
        (1, 1.0, "eager"),
        (50, 1.0, "eager"),
        (2000, 4.0, "eager"),
        (2000, 0.5, "eager"),
        (2000, 0.5, "graph"),
        (2000, 0.5, "xla"),
    ],
)
def test_nucleus_is_the_smallest_set_that_reaches_top_p(
    vocabulary_size, spread, mode
):
    function = keep_nucleus
    if mode != "eager":
        function = tf.function(function, jit_compile=mode == "xla")
    weights = random_weights(vocabulary_size, spread)
    for top_p in ([0.3, 0.6, 0.9], [0.99, 0.5, 1e-6]):
        top_p = np.asarray(top_p, "float32")
        filtered = function(tf.constant(weights), tf.constant(top_p))
        assert_keeps_the_nucleus(filtered, weights, top_p)


def test_equal_weights_enter_by_id():
    weights = tf.constant([[0.5, 1.0, 0.5, 0.5, 0.5]])
    # 3 in all: two thirds of it are the 1.0 and two halves.
    filtered = keep_nucleus(weights, tf.constant([0.6]))
    np.testing.assert_array_equal(filtered, [[0.5, 1.0, 0.5, 0.0, 0.0]])


def test_share_that_is_reached_exactly_is_enough():
    weights = tf.constant([[0.25, 1.0, 0.5, 0.25]])
    filtered = keep_nucleus(weights, tf.constant([0.75]))
    np.testing.assert_array_equal(filtered, [[0.0, 1.0, 0.5, 0.0]])


@pytest.mark.parametrize("vocabulary_size", [5, 2000])
def test_rows_of_top_p_1_keep_all_beside_rows_that_do_not(vocabulary_size):
    # In float32 the sum reaches 1 long before the last of these weights.
    weights = np.full((2, vocabulary_size), 1e-9, "float32")
    weights[:, 2] = 1.0
    alone = keep_nucleus(tf.constant(weights), tf.constant([1.0, 1.0]))
    np.testing.assert_array_equal(alone, weights)
    beside = keep_nucleus(tf.constant(weights), tf.constant([0.5, 1.0]))
    np.testing.assert_array_equal(np.flatnonzero(beside[0]), [2])
    np.testing.assert_array_equal(beside[1], weights[1])


def test_row_of_a_large_vocabulary_does_not_depend_on_the_rows_beside_it():
    steep = random_weights(2000, 4.0)[:1]
    flat = random_weights(2000, 0.1)[:1]
    together = keep_nucleus(
        np.concatenate([steep, flat]), np.float32([0.9] * 2)
    )
    np.testing.assert_array_equal(
        together[:1], keep_nucleus(steep, np.float32([0.9]))
    )
    np.testing.assert_array_equal(
        together[1:], keep_nucleus(flat, np.float32([0.9]))
    )

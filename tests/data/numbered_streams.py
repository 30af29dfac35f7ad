"""Streams of different numbers, which tell where a token stood."""

import numpy as np
import tensorflow as tf

BOS = 2
PAD = 0
FIRST = 10


def numbered_stream(num_tokens):
    return np.arange(FIRST, FIRST + num_tokens, dtype="uint16")


def as_arrays(batches):
    return [tf.nest.map_structure(np.asarray, batch) for batch in batches]


def assert_batches_equal(actual, expected):
    """Compares two lists of batches."""
    for one, other in zip(actual, expected, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)

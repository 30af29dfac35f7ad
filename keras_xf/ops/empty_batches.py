"""Batches without rows, for what cannot take them.

TensorFlow itself: a padding that is known when the graph runs.
"""

from collections.abc import Callable

import tensorflow as tf


def never_empty(function: Callable, tensors):
    """Calls a function with a row of zeros where there is none.

    On a CPU, TensorFlow's convolutions give images of no rows the channels of
    their inputs, and fail after that.

    Args:
        function: Takes the structure of tensors and returns another, whose
            tensors have as many rows.
        tensors: Nested structure of tensors whose first axis is the batch.

    Returns:
        What the function returns, without rows if there were none.
    """
    first = tf.nest.flatten(tensors)[0]
    if first.shape[0]:
        # It has rows, as in eager execution nearly always.
        return function(tensors)
    number = tf.shape(first)[0]
    missing = tf.maximum(1 - number, 0)

    def fill(tensor):
        others = [[0, 0]] * (tensor.shape.rank - 1)
        return tf.pad(tensor, [[0, missing], *others])

    filled = tf.nest.map_structure(fill, tensors)
    return tf.nest.map_structure(
        lambda tensor: tensor[:number], function(filled)
    )

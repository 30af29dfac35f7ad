"""Positions of the vectors of a sequence that may be a continuation."""

import tensorflow as tf
from keras import ops

from keras_xf.checks import check_shape


def find_places(inputs, start=None, *, max_length: int):
    """Positions of a sequence's vectors.

    Args:
        inputs: Tensor `(batch, length, ...)`.
        start: Integer `(batch,)`, the position of each row's first vector; 0
            by default.
        max_length: Number of positions that there are. An open length that
            turns out to be more is an `InvalidArgumentError`, compiled by XLA
            it is not noticed; what a start moves past the end is at the last
            position.

    Returns:
        Int32 tensor `(length,)` or, with a start, `(batch, length)`.

    Raises:
        ValueError: If `start` is no vector.
    """
    length = ops.shape(inputs)[1]
    if tf.is_tensor(length):
        tf.debugging.Assert(
            length <= max_length,
            [
                f"`inputs` must not be longer than {max_length}. Received:",
                length,
            ],
        )
    place = ops.arange(length)
    if start is not None:
        check_shape("start", start.shape, "(batch,)")
        place = ops.cast(start, "int32")[:, None] + place
    return ops.minimum(place, max_length - 1)

"""Positions of the vectors of a sequence that may be a continuation."""

from keras import ops

from keras_xf.checks import check_shape


def find_places(inputs, start=None):
    """Positions of a sequence's vectors.

    Args:
        inputs: Tensor `(batch, length, ...)`.
        start: Integer `(batch,)`, the position of each row's first vector; 0
            by default.

    Returns:
        Int32 tensor `(length,)` or, with a start, `(batch, length)`.

    Raises:
        ValueError: If `start` is no vector.
    """
    place = ops.arange(ops.shape(inputs)[1])
    if start is None:
        return place
    check_shape("start", start.shape, "(batch,)")
    return ops.cast(start, "int32")[:, None] + place

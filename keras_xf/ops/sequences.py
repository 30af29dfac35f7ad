"""Lengths and masks of padded sequences."""

from keras import ops


def padding_mask(length, max_length):
    """Marks the real positions of padded sequences.

    Args:
        length: Integer tensor `(batch,)`, the number of real positions.
        max_length: Number of positions, real or not.

    Returns:
        Boolean tensor `(batch, max_length)`, True where a position is real.
    """
    return ops.arange(max_length) < ops.cast(length, "int32")[:, None]

"""Draws from distributions over a few entries, by noise that is given."""

from keras import ops


def invert_distribution(weights, noise):
    """Finds the entries at which the cumulative distribution passes a value.

    Args:
        weights: Float tensor `(rows, entries)`, not negative, at least one of
            a row positive; they need not sum to one.
        noise: Float tensor `(rows,)`, in `[0, 1)`; uniform, if the entries
            are to be drawn by their weights.

    Returns:
        int32 tensor `(rows,)`: entries with a positive weight.
    """
    sums = ops.cumsum(weights, axis=-1)
    # XLA adds in an order in which sums may fall by a rounding error. Zeros at
    # what has no weight, and the greatest sum instead of the last, make sure
    # that an entry with a weight is found.
    sums = ops.where(weights > 0, sums, ops.zeros_like(sums))
    total = ops.max(sums, axis=-1)
    is_beyond = sums > ops.expand_dims(noise * total, axis=-1)
    # The first that is.
    return ops.cast(ops.argmax(is_beyond, axis=-1), "int32")

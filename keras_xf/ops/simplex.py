"""Weights that are not negative and sum to one (Ahmed et al., 2017)."""

import numpy as np
from keras import ops

from keras_xf.checks import check
from keras_xf.ops.logits import wide_dtype

# By which the sum of what was projected may differ from one: 1e-6 in float32.
_ROUNDINGS = 8


def project(x, min_weight: float = 0.0):
    """The nearest point of the simplex, by Euclidean distance.

    From sorted values `u`, largest first, with sums `c`, the threshold is the
    largest of `(c[j] - 1) / (j + 1)`: below it as long as `u[j]` raises it, it
    falls from there on.

    What is there but for rounding stays as it is, bit by bit.

    Args:
        x: Float tensor `(..., number)`.
        min_weight: The smallest that a weight may be. The simplex is then the
            part of it where all weights are as large, and the projection is
            the nearest point of that.

    Returns:
        Tensor like `x`; computed in float32 or wider.

    Raises:
        ValueError: If `number` weights of `min_weight` come to one or more.

    Reference:
        [Duchi et al., 2008](https://doi.org/10.1145/1390156.1390191), figure 1
    """
    number = x.shape[-1]
    rest = 1 - check_min_weight(min_weight, number) * number
    dtype = wide_dtype(x.dtype)
    given = ops.cast(x, dtype)
    # What all have in common does not matter, but would cost digits.
    values = given - ops.max(given, axis=-1, keepdims=True)
    largest_first = -ops.sort(-values, axis=-1)
    counts = ops.arange(1, number + 1, dtype=dtype)
    thresholds = (ops.cumsum(largest_first, axis=-1) - rest) / counts
    threshold = ops.max(thresholds, axis=-1, keepdims=True)
    weights = ops.maximum(values - threshold, 0) + min_weight
    distance = ops.abs(ops.sum(given, axis=-1, keepdims=True) - 1)
    is_there = distance <= _ROUNDINGS * np.finfo(dtype).eps
    is_there &= ops.min(given, axis=-1, keepdims=True) >= min_weight
    return ops.cast(ops.where(is_there, given, weights), x.dtype)


def check_min_weight(min_weight: float, number: int) -> float:
    """Returns `min_weight` if so many weights can have it.

    Args:
        min_weight: The smallest that a weight may be.
        number: Number of weights.

    Raises:
        ValueError: If it is negative, or leaves nothing to share.
    """
    check(
        min_weight >= 0 and min_weight * number < 1,
        "`min_weight` must not be negative, and times the number of weights "
        "be less than one.",
        min_weight=min_weight,
        number=number,
    )
    return min_weight

"""Indices of codes as they are given to a layer."""

import keras
import numpy as np
from keras import ops

from keras_xf.checks import check


def as_code_indices(indices, num_codes: int):
    """Returns int32 indices; their values are looked at in eager execution.

    Args:
        indices: Integer tensor of any shape.
        num_codes: What they must be less than.

    Returns:
        int32 tensor. What is out of range and has more bits becomes
        `num_codes`, which is out of range, too, or if negative -1. Of 2**31
        codes no int32 is out of range: there it becomes negative.

    Raises:
        ValueError: If the dtype is none of integers, or if a value is known
            not to lie in `[-1, num_codes)`.
    """
    indices = ops.convert_to_tensor(indices)
    dtype = keras.backend.standardize_dtype(indices.dtype)
    check("int" in dtype, "`indices` must be integers.", dtype=dtype)
    if hasattr(indices, "numpy"):
        values = np.asarray(indices)
        wrong = values[(values < -1) | (values >= num_codes)]
        check(
            wrong.size == 0,
            f"`indices` must lie in [0, {num_codes}), or be -1 where a mask "
            "has hidden a vector.",
            indices=int(wrong[0]) if wrong.size else None,
        )
    if dtype == "uint64":
        # Keras would make an uint32 of it. The upper half become negative.
        indices = ops.cast(indices, "int64")
        beyond = ops.full_like(indices, 2**31)
        indices = ops.where(indices < 0, beyond, indices)
    if dtype in ("int64", "uint32", "uint64"):
        # Without its upper bits it could be a code.
        indices = ops.minimum(indices, min(num_codes, 2**31))
        if dtype == "int64":
            indices = ops.maximum(indices, -1)
    return ops.cast(indices, "int32")

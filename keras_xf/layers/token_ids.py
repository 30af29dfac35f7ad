"""Ids of tokens as they are given to a layer."""

import keras
import numpy as np
from keras import ops

from keras_xf.checks import check


def as_token_ids(name: str, ids, vocabulary_size: int):
    """Returns ids of an integer dtype that rows can be gathered by.

    Their values are looked at where that costs no graph: in eager execution.
    Elsewhere they are left as they are, for a gather to fail on.

    Args:
        name: The argument's name.
        ids: Integer tensor of any shape.
        vocabulary_size: What the ids must be less than.

    Returns:
        int32 or int64 tensor.

    Raises:
        ValueError: If the dtype is none of integers, or if a value is known
            not to lie in `[0, vocabulary_size)`.
    """
    dtype = keras.backend.standardize_dtype(ids.dtype)
    check("int" in dtype, f"`{name}` must be integer token ids.", dtype=dtype)
    # TensorFlow gathers by int32 and int64 alone.
    ids = ops.convert_to_tensor(ids)
    ids = ids if dtype == "int64" else ops.cast(ids, "int32")
    if hasattr(ids, "numpy"):
        values = np.asarray(ids)
        wrong = values[(values < 0) | (values >= vocabulary_size)]
        check(
            wrong.size == 0,
            f"`{name}` must lie in [0, {vocabulary_size}).",
            **{name: int(wrong[0]) if wrong.size else None},
        )
    return ids

"""What logits of attention are computed in."""

import keras

# Takes the place of what is masked out. Finite, since infinities turn into NaN
# where a whole row is masked, and far below any real logit.
MASKED_LOGIT = -1e9


def wide_dtype(*dtypes) -> str:
    """The dtype of logits and sums: float32, or wider if what is given is.

    Args:
        *dtypes: Dtypes of what they are computed from.

    Returns:
        float64 if one of them is, else float32.
    """
    names = map(keras.backend.standardize_dtype, dtypes)
    return "float64" if "float64" in names else "float32"

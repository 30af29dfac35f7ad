"""The dtype of what must not be rounded, under any policy."""

import keras

from keras_xf.ops.logits import wide_dtype


def wide_dtype_of(dtype: object) -> str:
    """What inputs and results of a policy have: float32 or wider.

    Args:
        dtype: Dtype or dtype policy; Keras's global one if None.
    """
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    return wide_dtype(policy.compute_dtype)

"""Vectors of unit length, and the gradient of making them."""

import math

from keras import ops

from keras_xf.ops.logits import wide_dtype

EPSILON = 1e-6


def unit_vectors(vectors, scale: float = 1.0):
    """Scales vectors to unit length, as root mean square normalization does.

    Args:
        vectors: Float tensor `(..., dim)`.
        scale: Their length instead of 1.

    Returns:
        Tensor like `vectors`.
    """
    x = ops.cast(vectors, wide_dtype(vectors.dtype))
    return ops.cast(x * (_factors(x) * scale), vectors.dtype)


def unit_vectors_gradient(vectors, upstream, scale: float = 1.0):
    """The gradient of the vectors, without what automatic ones remember.

    Args:
        vectors: As given to `unit_vectors`.
        upstream: The gradient of what it returned.
        scale: As given.

    Returns:
        Tensor `(..., dim)`, of the dtype of `upstream`.
    """
    x = ops.cast(vectors, upstream.dtype)
    factors = _factors(x)
    along = ops.sum(x * upstream, axis=-1, keepdims=True)
    return (factors * scale) * (upstream - x * (along * factors * factors))


def _factors(x):
    mean = ops.mean(x * x, axis=-1, keepdims=True)
    return ops.rsqrt(mean + EPSILON) * (1 / math.sqrt(x.shape[-1]))

"""Positions: sinusoids (Vaswani et al., 2017), rotation (Su et al., 2021)."""

import math

from keras import ops
from keras.backend import standardize_dtype

# Wavelengths run from 2 pi to 10000 * 2 pi in both papers.
LONGEST_WAVELENGTH = 10000.0


def sinusoids(positions, dim: int, dtype: str = "float32"):
    """Sinusoidal position embeddings, section 3.5 of Vaswani et al.

    The sines stand in the first half of the vector and the cosines in the
    second, as in tensor2tensor; the paper interleaves them, which is the same
    up to a permutation that the next projection learns.

    Args:
        positions: Integer or float tensor of any shape.
        dim: Width of the embedding, even.
        dtype: Dtype of the result. Angles are in float32 or wider: half
            precision cannot tell position 2049 from 2048.

    Returns:
        Tensor `(*positions.shape, dim)`.
    """
    angles = _angles(positions, dim, dtype)
    embedding = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    return ops.cast(embedding, dtype)


def rotate(x, positions):
    """Rotary position embedding, equation (34) of Su et al.

    Each pair `(x[i], x[i + dim / 2])` is turned by an angle in proportion to
    its position, so that the product of a turned query and a turned key
    depends on the distance between the two alone.

    Args:
        x: Float tensor `(batch, num_heads, length, dim)`, `dim` even.
        positions: Integer tensor `(length,)` or `(batch, length)`.

    Returns:
        Tensor like `x`.
    """
    half = x.shape[-1] // 2
    angles = _angles(positions, x.shape[-1], x.dtype)
    if len(angles.shape) == 3:
        angles = angles[:, None]
    sine = ops.sin(angles)
    sine = ops.concatenate([-sine, sine], axis=-1)
    cosine = ops.cos(angles)
    cosine = ops.concatenate([cosine, cosine], axis=-1)
    swapped = ops.concatenate([x[..., half:], x[..., :half]], axis=-1)
    return x * ops.cast(cosine, x.dtype) + swapped * ops.cast(sine, x.dtype)


def _angles(positions, dim, dtype):
    wide = "float64" if standardize_dtype(dtype) == "float64" else "float32"
    exponents = ops.arange(dim // 2, dtype=wide) / (dim // 2)
    frequencies = ops.exp(-math.log(LONGEST_WAVELENGTH) * exponents)
    return ops.cast(positions, wide)[..., None] * frequencies

"""Vectors of any tensor as rows, without what a mask hides."""

from keras import ops

from keras_xf.checks import check


def flat_vectors(inputs, mask=None):
    """Lays the vectors of a tensor out as rows.

    Args:
        inputs: Float tensor `(..., dim)`.
        mask: Boolean `(...)`, True where a vector is real; all by default.

    Returns:
        Tensor `(number, dim)`, with zeros for what is not real, whatever was
        there; and float32 weights `(number,)`, 1 or 0, or None without a mask.

    Raises:
        ValueError: If the mask has another shape, or, in eager execution, if a
            vector that is real is not finite.
    """
    vectors = ops.reshape(inputs, (-1, inputs.shape[-1]))
    weights = None
    if mask is not None:
        check(
            len(mask.shape) == len(inputs.shape) - 1
            and all(
                None in pair or pair[0] == pair[1]
                for pair in zip(mask.shape, inputs.shape, strict=False)
            ),
            "`mask` must have the shape of `inputs` without its last axis.",
            mask=tuple(mask.shape),
            inputs=tuple(inputs.shape),
        )
        real = ops.reshape(ops.cast(mask, "bool"), (-1,))
        # Not a product: of what is not finite zero times is NaN.
        vectors = ops.where(real[:, None], vectors, ops.zeros_like(vectors))
        weights = ops.cast(real, "float32")
    if hasattr(vectors, "numpy"):
        is_finite = bool(ops.all(ops.isfinite(vectors)))
        check(is_finite, "`inputs` must be finite.", is_finite=is_finite)
    return vectors, weights


def hide(outputs, mask, value=0):
    """Puts a value where a mask hides a vector.

    Args:
        outputs: Tensor `(..., dim)` or `(...)`.
        mask: Boolean `(...)`, or None.
        value: What takes the place.

    Returns:
        Tensor like `outputs`.
    """
    if mask is None:
        return outputs
    mask = ops.cast(mask, "bool")
    if len(outputs.shape) > len(mask.shape):
        mask = mask[..., None]
    return ops.where(mask, outputs, ops.cast(value, outputs.dtype))

"""The one mask of all that a layer may be handed."""

import keras
from keras import ops

from keras_xf.checks import check_shape


def joined_mask(inputs, padding_mask, mask):
    """Joins a layer's `padding_mask` with the mask that Keras passes on.

    Args:
        inputs: The layer's inputs, `(batch, length, ...)`.
        padding_mask: Boolean `(batch, length)`, or None.
        mask: What Keras filled in, or None.

    Returns:
        Boolean `(batch, length)`, True where both are; None if neither is
        given.

    Raises:
        ValueError: If a mask has another shape.
    """
    if mask is None:
        # Keras fills `mask` only where no other tensor is handed over.
        mask = getattr(inputs, "_keras_mask", None)
    if padding_mask is None:
        padding_mask, mask = mask, None
    if padding_mask is None:
        return None
    sizes = zip(("batch", "length"), inputs.shape, strict=False)
    check_shape(
        "padding_mask",
        padding_mask.shape,
        "(batch, length)",
        **{axis: size for axis, size in sizes if size is not None},
    )
    return _conjunction(padding_mask, mask)


def mask_of_all(inputs, padding_mask):
    """Joins a layer's `padding_mask` with what Keras attached to its inputs.

    Args:
        inputs: A tensor or several.
        padding_mask: Boolean `(batch, length)`, or None.

    Returns:
        Boolean `(batch, length)`, True where all are; None if there is none.
    """
    masks = [
        getattr(x, "_keras_mask", None) for x in keras.tree.flatten(inputs)
    ]
    return _conjunction(padding_mask, *masks)


def _conjunction(*masks):
    masks = [ops.cast(mask, "bool") for mask in masks if mask is not None]
    joined = masks[0] if masks else None
    for mask in masks[1:]:
        joined = ops.logical_and(joined, mask)
    return joined

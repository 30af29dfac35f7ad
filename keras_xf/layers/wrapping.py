"""What layers that wrap any other layer need to know of it."""

import inspect

import keras


def build_wrapped(layer: keras.layers.Layer, input_shape) -> None:
    """Makes the weights of a layer, unless it has them.

    Args:
        layer: A layer of one input.
        input_shape: The input's shape.
    """
    if layer.built:
        return
    if type(layer).build is keras.layers.Layer.build:
        # Its parts are built where they are called.
        layer(keras.KerasTensor(input_shape, dtype=layer.input_dtype))
    else:
        layer.build(input_shape)


def mask_arguments(layer: keras.layers.Layer, padding_mask) -> dict:
    """The keyword arguments that tell a layer what is padding.

    Args:
        layer: A layer. `padding_mask` is the name it should know the mask by,
            or `mask`, as Keras's own do; one that hands on whatever it is given
            gets `padding_mask`. A layer that takes none of these is told
            nothing.
        padding_mask: Boolean `(batch, length)`, True where a position is real,
            or None.

    Returns:
        A dict of one argument or none.
    """
    if padding_mask is None:
        return {}
    parameters = inspect.signature(layer.call).parameters
    for name in ("padding_mask", "mask"):
        if name in parameters:
            return {name: padding_mask}
    hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {"padding_mask": padding_mask} if hands_on else {}

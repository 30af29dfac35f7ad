"""Draws each matrix of a stack on its own."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.initializers.own_draws import own_draws


@keras.saving.register_keras_serializable(package="keras_xf")
class PerSlice(keras.initializers.Initializer):
    """Initializes the slices of a stack as the matrices that they are.

    Keras takes all axes but the last two for those of an image, so that a
    stack of matrices would be drawn with the fans of a convolution.

    Args:
        initializer: Initializer of a slice, such as "glorot_uniform" or
            `keras.initializers.Orthogonal(seed=0)`. Each slice gets draws of
            its own.

    Example:

    >>> initializer = keras_xf.initializers.PerSlice("glorot_uniform")
    >>> initializer((8, 64, 512)).shape
    TensorShape([8, 64, 512])
    """

    def __init__(self, initializer="glorot_uniform"):
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape, dtype=None):
        check(
            len(shape) > 1,
            "`shape` must have an axis of the slices and those of a slice.",
            shape=tuple(shape),
        )
        return ops.stack(
            [
                # Far from the places that a layer's other matrices have.
                own_draws(self.initializer, 1000 * place)(shape[1:], dtype)
                for place in range(shape[0])
            ]
        )

    def get_config(self):
        return {"initializer": keras.initializers.serialize(self.initializer)}

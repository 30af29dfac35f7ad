"""Draws a stack of matrices as the parts of one."""

import keras
from keras import ops

from keras_xf.checks import check


@keras.saving.register_keras_serializable(package="keras_xf")
class Stacked(keras.initializers.Initializer):
    """Initializes a stack as one matrix that is cut into its slices.

    Heads or branches that are computed as a stack are then as large as those
    of the layer that has one matrix for all of them. Keras takes all axes but
    the last two for those of an image, and would draw smaller numbers.

    Args:
        initializer: Initializer of the whole matrix.
        axis: Which axis of it is cut: -2, that of its inputs, as where heads
            are joined, or -1, that of its outputs.

    Example:

    >>> initializer = keras_xf.initializers.Stacked("glorot_uniform", axis=-2)
    >>> initializer((8, 64, 512)).shape  # Drawn as 512 by 512.
    TensorShape([8, 64, 512])
    """

    def __init__(self, initializer="glorot_uniform", axis: int = -2):
        check(axis in (-2, -1), "`axis` must be -2 or -1.", axis=axis)
        self.initializer = keras.initializers.get(initializer)
        self.axis = axis

    def __call__(self, shape, dtype=None):
        check(
            len(shape) == 3,
            "`shape` must be that of a stack of matrices.",
            shape=tuple(shape),
        )
        number, rows, columns = shape
        if self.axis == -2:
            whole = self.initializer((number * rows, columns), dtype)
            return ops.reshape(whole, tuple(shape))
        whole = self.initializer((rows, number * columns), dtype)
        parts = ops.reshape(whole, (rows, number, columns))
        return ops.transpose(parts, (1, 0, 2))

    def get_config(self):
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "axis": self.axis,
        }

"""Mask of the real positions of padded sequences."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.ops import sequences


@keras.saving.register_keras_serializable(package="keras_xf")
class PaddingMask(keras.layers.Layer):
    """Makes the mask that the other layers take from the sequences' lengths.

    Args:
        **kwargs: `keras.layers.Layer` arguments, such as `name`.

    Call arguments:
        inputs: Tensor `(batch, max_length, ...)` whose positions are masked;
            its values do not matter.
        length: Integer tensor `(batch,)`, the number of real positions.

    Output shape:
        `(batch, max_length)`, boolean, True where a position is real.

    Example:

    >>> keras_xf.layers.PaddingMask()(np.zeros((2, 3)), np.array([1, 3]))
    <tf.Tensor: shape=(2, 3), dtype=bool, numpy=
    array([[ True, False, False],
           [ True,  True,  True]])>
    """

    def build(self, inputs_shape, length_shape):
        check_shape("length", length_shape, "(batch,)")

    def call(self, inputs, length):
        check_shape("length", length.shape, "(batch,)")
        check(
            len(inputs.shape) >= 2,
            "`inputs` must have the shape (batch, max_length, ...).",
            shape=tuple(inputs.shape),
        )
        return sequences.padding_mask(length, ops.shape(inputs)[1])

    def compute_output_shape(self, inputs_shape, length_shape):
        return tuple(inputs_shape[:2])

    def compute_output_spec(self, inputs, length):
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")

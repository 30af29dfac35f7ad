"""Sinusoidal position embedding (Vaswani et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.ops import positions


@keras.saving.register_keras_serializable(package="keras_xf")
class SinusoidalPositions(keras.layers.Layer):
    """Adds sines and cosines of its position to each vector of a sequence.

    Nothing is learned, so a sequence may be of any length. Masks do not
    matter to it.

    Args:
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`, `dim` even.
        start: Integer `(batch,)`, the position of each row's first vector; 0
            by default.

    Output shape:
        `(batch, length, dim)`.

    Example:

    >>> keras_xf.layers.SinusoidalPositions()(np.zeros((1, 2, 4)))[0, 1]
    <tf.Tensor: shape=(4,), dtype=float32, numpy=
    array([0.841471  , 0.00999983, 0.5403023 , 0.99995   ], dtype=float32)>

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.5
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        _check_inputs(input_shape)

    def call(self, inputs, start=None):
        _check_inputs(inputs.shape)
        place = ops.arange(ops.shape(inputs)[1])
        if start is not None:
            check_shape("start", start.shape, "(batch,)")
            place = ops.cast(start, "int32")[:, None] + place
        return inputs + positions.sinusoids(
            place, inputs.shape[-1], dtype=inputs.dtype
        )

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)


def _check_inputs(shape):
    check_shape("inputs", shape, "(batch, length, dim)", dim=None)
    check(
        shape[-1] % 2 == 0,
        "`inputs` must have an even width.",
        shape=tuple(shape),
    )

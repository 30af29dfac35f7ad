"""Sinusoids of the distances in a segment and its memory (Dai et al., 2019)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.ops import relative
from keras_xf.ops.dropout import drop


@keras.saving.register_keras_serializable(package="keras_xf")
class RelativePositions(keras.layers.Layer):
    """Makes what a model's `RelativeAttention` layers know distances by.

    They would make it themselves, but of this one all get the same, with the
    same dropout in training, as in the authors' code.

    Masks do not matter to it.

    Args:
        clamp_length: Distances beyond it count as it; None for no limit.
        dropout: Fraction dropped in training.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor `(batch, length, dim)`, `dim` even; its values do not
            matter.
        memory: Tensor `(batch, ..., memory_length, dim)`, likewise, or None.
        training: Whether to drop.

    Output shape:
        `(memory_length + length + 1, dim)`, of the distances from
        `memory_length + length` down to 0.

    Example:

    >>> keras_xf.layers.RelativePositions()(np.ones((2, 5, 8))).shape
    TensorShape([6, 8])

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860), appendix B
    """

    def __init__(
        self,
        clamp_length: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if clamp_length is not None:
            clamp_length = as_integer("clamp_length", clamp_length)
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.clamp_length = clamp_length
        self.dropout = dropout
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        _check_inputs(input_shape)

    def call(self, inputs, memory=None, training=False):
        _check_inputs(inputs.shape)
        source_length = ops.shape(inputs)[1] + _memory_length(memory)
        positions = relative.distance_sinusoids(
            source_length,
            inputs.shape[-1],
            self.clamp_length,
            dtype=self.compute_dtype,
        )
        if training and self.dropout:
            positions = drop(positions, self.dropout, self.seed_generator)
        return positions

    def compute_output_spec(self, inputs, memory=None, training=False):
        length = inputs.shape[1]
        if length is not None:
            length += _memory_length(memory) + 1
        return keras.KerasTensor(
            (length, inputs.shape[-1]), dtype=self.compute_dtype
        )

    def get_config(self):
        return {
            **super().get_config(),
            "clamp_length": self.clamp_length,
            "dropout": self.dropout,
            "seed": self.seed,
        }


def _check_inputs(shape):
    check_shape("inputs", shape, "(batch, length, dim)", dim=None)
    check(
        shape[-1] % 2 == 0,
        "`inputs` must have an even width.",
        shape=tuple(shape),
    )


def _memory_length(memory):
    if memory is None:
        return 0
    check_shape(
        "memory",
        memory.shape,
        "(batch, ..., memory_length, dim)",
        memory_length=None,
    )
    return memory.shape[-2]

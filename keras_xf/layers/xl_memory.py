"""Memory of the segments before (Dai et al., 2019)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.ops import memory as buffers
from keras_xf.ops.logits import wide_dtype


@keras.saving.register_keras_serializable(package="keras_xf")
class XLMemory(keras.layers.Layer):
    """Keeps the last positions of what it is given, segment after segment.

    The memory is a tensor of fixed size that goes in and comes out; how much of
    it is real comes with it, so that a sequence begins with nothing remembered
    rather than with zeros. What is real stands at its end, the last position
    last. Layers may share one memory, which then has an axis for them. No
    gradient goes through it.

    Padding is not remembered: of a row's new positions only the first `length`
    are.

    Args:
        memory_length: Number of positions that are remembered, which may be 0.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., length, dim)`.
        memory: Float tensor `(batch, ..., memory_length, dim)`.
        memory_length: Integer `(batch,)`, how much of the memory is real.
        length: Integer `(batch,)`, how many of a row's inputs are real; all by
            default.

    Output shape:
        A pair: the new memory, like `memory`, and int32 `(batch,)`, how much
        of it is real.

    Example:

    >>> layer = keras_xf.layers.XLMemory(memory_length=4)
    >>> state = layer.initial_state(batch_size=1, shape=(), dim=2)
    >>> memory, memory_length = layer(np.ones((1, 3, 2)), **state)
    >>> memory_length
    <tf.Tensor: shape=(1,), dtype=int32, numpy=array([3], dtype=int32)>

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860), section 3.2
    """

    def __init__(self, memory_length: int, **kwargs):
        super().__init__(**kwargs)
        self.memory_length = as_integer("memory_length", memory_length, least=0)
        # A memory is as precise as what brings it, whatever the layers around
        # compute in: it stays.
        self.autocast = False

    def build(self, inputs_shape, memory_shape, *_, **__):
        self._check(inputs_shape, memory_shape)

    def call(self, inputs, memory, memory_length, length=None):
        self._check(inputs.shape, memory.shape)
        batch_size = memory.shape[0]
        batch = {} if batch_size is None else {"batch": batch_size}
        check_shape("memory_length", memory_length.shape, "(batch,)", **batch)
        if length is not None:
            check_shape("length", length.shape, "(batch,)", **batch)
        new_length = ops.shape(inputs)[-2]
        valid = ops.cast(memory_length, "int32")
        return (
            ops.stop_gradient(buffers.push(memory, inputs, length)),
            buffers.push_length(valid, self.memory_length, new_length, length),
        )

    def initial_state(
        self, batch_size: int, shape: tuple[int, ...], dim: int
    ) -> dict:
        """The memory before the first segment, where nothing is real.

        Args:
            batch_size: Number of sequences.
            shape: Sizes of the axes between batch and length.
            dim: Width.

        Returns:
            A dict of `memory`, zeros in float32 or wider, and `memory_length`.
        """
        return {
            "memory": ops.zeros(
                (batch_size, *shape, self.memory_length, dim),
                wide_dtype(self.variable_dtype),
            ),
            "memory_length": ops.zeros((batch_size,), "int32"),
        }

    def compute_output_spec(self, inputs, memory, memory_length, length=None):
        return (
            keras.KerasTensor(memory.shape, dtype=memory.dtype),
            keras.KerasTensor(memory_length.shape, dtype="int32"),
        )

    def get_config(self):
        return {**super().get_config(), "memory_length": self.memory_length}

    def _check(self, inputs_shape, memory_shape):
        check_shape(
            "memory",
            memory_shape,
            "(batch, ..., memory_length, dim)",
            dim=None,
        )
        check(
            memory_shape[-2] == self.memory_length,
            "`memory` must hold the layer's `memory_length` positions.",
            shape=tuple(memory_shape),
            memory_length=self.memory_length,
        )
        expected = (*memory_shape[:-2], None, memory_shape[-1])
        check(
            len(inputs_shape) == len(expected)
            and all(
                None in pair or pair[0] == pair[1]
                for pair in zip(inputs_shape, expected, strict=True)
            ),
            "`inputs` must be like `memory` but for the length.",
            shape=tuple(inputs_shape),
            memory=tuple(memory_shape),
        )

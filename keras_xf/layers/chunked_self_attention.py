"""Local self-attention in chunks, the Reformer's (Kitaev et al., 2020)."""

import math

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.joined_mask import joined_mask
from keras_xf.layers.own_draws import own_draws
from keras_xf.ops import chunk_step
from keras_xf.ops import chunks
from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_windows import ChunkWindows


@keras.saving.register_keras_serializable(package="keras_xf")
class ChunkedSelfAttention(keras.layers.Layer):
    """Lets each position of a sequence attend to those near it.

    The sequence is cut into chunks of equal length. A chunk attends to itself
    and to those around it, with `softmax(query key / sqrt(key_dim))`; time
    and memory are linear in the length. A sequence no longer than a chunk
    gets dense attention.

    Positions where `padding_mask` is False are not attended to; their own
    outputs carry no meaning.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        chunk_length: Number of positions in a chunk. The default is that of
            the reference implementations.
        chunks_before: Number of chunks before its own that a chunk sees.
        chunks_after: Number of chunks after its own that a chunk sees; 0 if
            `causal`.
        causal: Whether a position attends only to itself and to those before.
        dropout: Fraction of the attention weights dropped in training.
        seed: Seed of the dropout.
        reference_compatible: Whether the first chunk sees the last one, and
            the last the first, as in what the published checkpoints were
            trained with; if causal it matters only to sequences of no more
            chunks than `chunks_before`.
        kernel_initializer: Initializer of the projections, which have no
            biases. They are `query_key_value` `(dim, num_heads * (2 * key_dim
            + value_dim))` and `output_projection` `(num_heads * value_dim,
            dim)`, where the heads come first, and in each the query.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`.
        padding_mask: Boolean `(batch, length)`, True where an input is real.
            With a state, the real inputs of a row must come first: the next
            call goes on after them, and the rest leaves nothing behind.
        state: None, or what `initial_state` or the last call returned. The
            layer must be causal.
        mask: The mask that Keras passes on, such as that of an `Embedding`
            with `mask_zero=True`; joined with `padding_mask`.
        training: Whether to drop attention weights.

    Output shape:
        `(batch, length, dim)`; with a state a pair of this and the new state.

    Example:

    >>> layer = keras_xf.layers.ChunkedSelfAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((2, 256, 8))).shape
    TensorShape([2, 256, 8])

    Reference:
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        chunk_length: int = 64,
        chunks_before: int = 1,
        chunks_after: int = 0,
        causal: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        reference_compatible: bool = False,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = as_integer("num_heads", num_heads)
        self.key_dim = as_integer("key_dim", key_dim)
        if value_dim is not None:
            value_dim = as_integer("value_dim", value_dim)
        self.value_dim = value_dim
        self._windows = ChunkWindows(
            chunk_length,
            chunks_before,
            chunks_after,
            wrap="rounds" if reference_compatible else None,
        )
        check(
            not causal or chunks_after == 0,
            "`chunks_after` must be 0 if `causal`.",
            chunks_after=chunks_after,
        )
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.chunk_length = self._windows.chunk_length
        self.chunks_before = self._windows.chunks_before
        self.chunks_after = self._windows.chunks_after
        self.causal = causal
        self.dropout = dropout
        self.seed = seed
        self.reference_compatible = reference_compatible
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, length, dim)", dim=None)
        self._dim = input_shape[-1]
        self.query_key_value = self._projection(
            self.num_heads * (2 * self.key_dim + self._value_dim),
            place=0,
            name="query_key_value",
        )
        self.query_key_value.build(input_shape)
        self.output_projection = self._projection(
            self._dim, place=1, name="output_projection"
        )
        self.output_projection.build(
            (*input_shape[:-1], self.num_heads * self._value_dim)
        )

    def call(
        self, inputs, padding_mask=None, state=None, mask=None, training=False
    ):
        check(
            state is None or self.causal,
            "`state` needs `causal=True`.",
            causal=self.causal,
        )
        check_shape(
            "inputs", inputs.shape, "(batch, length, dim)", dim=self._dim
        )
        padding_mask = joined_mask(inputs, padding_mask, mask)
        arguments = {
            "windows": self._windows,
            "padding_mask": padding_mask,
            "dropout": self.dropout if training else 0.0,
        }
        if arguments["dropout"]:
            arguments["seed"] = stateless_random.draw(self.seed_generator)
        query, key, value = self._project(inputs)
        if state is None:
            outputs, _ = chunks.attend(
                query, key, value, causal=self.causal, **arguments
            )
        else:
            outputs, state = chunk_step.attend_next(
                query, key, value, state, **arguments
            )
        batch_size, length = ops.shape(inputs)[:2]
        rows = (-1, self.num_heads * self._value_dim)
        outputs = self.output_projection(ops.reshape(outputs, rows))
        outputs = ops.reshape(outputs, (batch_size, length, self._dim))
        return outputs if state is None else (outputs, state)

    def initial_state(self, batch_size: int, max_length: int) -> dict:
        """The state before the first position.

        Args:
            batch_size: Number of sequences.
            max_length: Number of positions the state has room for.

        Returns:
            A dict of `key` `(batch, num_heads, max_length, key_dim)`, `value`
            alike, both in the compute dtype, and int32 `position` `(batch,)`,
            the number of positions seen.
        """
        shape = (batch_size, self.num_heads, max_length)
        return {
            "key": ops.zeros((*shape, self.key_dim), self.compute_dtype),
            "value": ops.zeros((*shape, self._value_dim), self.compute_dtype),
            "position": ops.zeros((batch_size,), "int32"),
        }

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_output_spec(
        self, inputs, padding_mask=None, state=None, mask=None, training=False
    ):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if state is None:
            return outputs
        return outputs, keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), state
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "chunk_length": self.chunk_length,
            "chunks_before": self.chunks_before,
            "chunks_after": self.chunks_after,
            "causal": self.causal,
            "dropout": self.dropout,
            "seed": self.seed,
            "reference_compatible": self.reference_compatible,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }

    @property
    def _value_dim(self):
        return self.key_dim if self.value_dim is None else self.value_dim

    def _projection(self, units, place, name):
        return keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )

    def _project(self, inputs):
        # A product of matrices proper: that of a tensor of rank 3 makes
        # TensorFlow compute and permute shapes around it.
        batch_size, length = ops.shape(inputs)[:2]
        projected = ops.reshape(
            self.query_key_value(ops.reshape(inputs, (-1, self._dim))),
            (
                batch_size,
                length,
                self.num_heads,
                2 * self.key_dim + self._value_dim,
            ),
        )
        query, key, value = ops.split(
            projected, [self.key_dim, 2 * self.key_dim], axis=-1
        )
        return query * (1 / math.sqrt(self.key_dim)), key, value

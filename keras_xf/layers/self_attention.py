"""Multi-head self-attention (Vaswani et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.own_draws import own_draws
from keras_xf.ops import attention
from keras_xf.ops import positions


@keras.saving.register_keras_serializable(package="keras_xf")
class SelfAttention(keras.layers.Layer):
    """Lets each position of a sequence attend to the others.

    Each of the heads projects the inputs to queries, keys and values, takes
    the average of the values weighted by `softmax(query key / sqrt(key_dim))`,
    and a last projection joins the heads. Given a state, the layer takes the
    next one or more positions of sequences it has seen before, whose keys and
    values the state holds.

    Positions where `padding_mask` is False are not attended to; their own
    outputs carry no meaning.

    Past some 1024 positions, or where the length is not known, attention goes
    block by block, in memory linear in the length; gradients of gradients are
    then refused.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        causal: Whether a position attends only to itself and to those before.
        rotary: Whether queries and keys are rotated by their positions (Su et
            al., 2021); `key_dim` must then be even.
        dropout: Fraction of the attention weights dropped in training.
        use_bias: Whether the projections have biases.
        kernel_initializer: Initializer of the projections. Queries, keys and
            values are one matrix product, and initialized as one matrix.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`.
        padding_mask: Boolean `(batch, length)`, True where an input is real.
            With a state, the real inputs of a row must come first: the next
            call goes on after them, and the rest leaves nothing behind.
        state: None, or what `initial_state` or the last call returned.
        mask: The mask that Keras passes on, such as that of an `Embedding`
            with `mask_zero=True`; joined with `padding_mask`.
        training: Whether to drop attention weights.

    Output shape:
        `(batch, length, dim)`; with a state a pair of this and the new state.

    Example:

    >>> layer = keras_xf.layers.SelfAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.2.2
        [Su et al., 2021](https://arxiv.org/abs/2104.09864)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        causal: bool = False,
        rotary: bool = False,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            num_heads > 0, "`num_heads` must be positive.", num_heads=num_heads
        )
        check(key_dim > 0, "`key_dim` must be positive.", key_dim=key_dim)
        check(
            value_dim is None or value_dim > 0,
            "`value_dim` must be positive.",
            value_dim=value_dim,
        )
        check(
            not rotary or key_dim % 2 == 0,
            "`key_dim` must be even if `rotary`.",
            key_dim=key_dim,
        )
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim
        self.causal = causal
        self.rotary = rotary
        self.dropout = dropout
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
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
            input_shape[-1], place=1, name="output_projection"
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
        if mask is None:
            # Keras fills `mask` only where no other tensor is handed over.
            mask = getattr(inputs, "_keras_mask", None)
        padding_mask = _join(padding_mask, mask, inputs.shape)
        batch_size, length = ops.shape(inputs)[:2]
        query, key, value = self._project(inputs, batch_size, length)
        query_positions = ops.arange(length)
        if state is not None:
            query_positions = state["position"][:, None] + query_positions
        if self.rotary:
            query = positions.rotate(query, query_positions)
            key = positions.rotate(key, query_positions)
        if state is not None:
            state = self._append(state, key, value, query_positions)
            key, value = state["key"], state["value"]
            state["position"] += _num_real(padding_mask, length)
            # What lies past the real positions is after every query, and
            # overwritten before a query gets there.
            padding_mask = None
        outputs = attention.attend(
            query,
            key,
            value,
            padding_mask=padding_mask,
            causal=self.causal,
            query_positions=query_positions,
            dropout=self.dropout if training else 0.0,
            seed=self.seed_generator,
        )
        outputs = self.output_projection(attention.merge_heads(outputs))
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
            "causal": self.causal,
            "rotary": self.rotary,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }

    @property
    def _value_dim(self):
        return self.key_dim if self.value_dim is None else self.value_dim

    def _projection(self, units, place, name):
        return keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )

    def _project(self, inputs, batch_size, length):
        # A product of matrices proper: that of a tensor of rank 3 makes
        # TensorFlow compute and permute shapes around it.
        flat = ops.reshape(inputs, (-1, self._dim))
        dim = 2 * self.key_dim + self._value_dim
        projected = ops.reshape(
            self.query_key_value(flat),
            (batch_size, length, self.num_heads, dim),
        )
        return ops.split(
            ops.transpose(projected, (0, 2, 1, 3)),
            [self.key_dim, 2 * self.key_dim],
            axis=-1,
        )

    def _append(self, state, key, value, new_positions):
        return {
            "key": attention.write(state["key"], key, new_positions),
            "value": attention.write(state["value"], value, new_positions),
            "position": state["position"],
        }


def _join(padding_mask, mask, inputs_shape):
    if padding_mask is None:
        padding_mask, mask = mask, None
    if padding_mask is None:
        return None
    check_shape(
        "padding_mask",
        padding_mask.shape,
        "(batch, length)",
        **{
            axis: size
            for axis, size in zip(
                ("batch", "length"), inputs_shape, strict=False
            )
            if size is not None
        },
    )
    padding_mask = ops.cast(padding_mask, "bool")
    return (
        padding_mask
        if mask is None
        else ops.logical_and(padding_mask, ops.cast(mask, "bool"))
    )


def _num_real(padding_mask, length):
    if padding_mask is None:
        return length
    return ops.sum(ops.cast(padding_mask, "int32"), axis=1)

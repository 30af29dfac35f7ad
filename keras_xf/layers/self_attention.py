"""Multi-head self-attention (Vaswani et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.layers.multi_head_layer import MultiHeadLayer
from keras_xf.ops import attention
from keras_xf.ops import positions


@keras.saving.register_keras_serializable(package="keras_xf")
class SelfAttention(MultiHeadLayer):
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
        super().__init__(
            num_heads,
            key_dim,
            value_dim,
            causal=causal,
            dropout=dropout,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            seed=seed,
            **kwargs,
        )
        check(
            not rotary or key_dim % 2 == 0,
            "`key_dim` must be even if `rotary`.",
            key_dim=key_dim,
        )
        self.rotary = rotary

    def build(self, input_shape):
        self._build_projections(
            input_shape, query_key_value=2 * self.key_dim + self._value_dim
        )

    def call(
        self, inputs, padding_mask=None, state=None, mask=None, training=False
    ):
        padding_mask = self._check_call(inputs, padding_mask, mask, state)
        batch_size, length = ops.shape(inputs)[:2]
        query, key, value = self._heads_first(inputs)
        query_positions = ops.arange(length)
        if state is not None:
            query_positions = state["position"][:, None] + query_positions
        if self.rotary:
            query = positions.rotate(query, query_positions)
            key = positions.rotate(key, query_positions)
        if state is not None:
            state = attention.append(
                state, key, value, query_positions, padding_mask
            )
            key, value = state["key"], state["value"]
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

    def get_config(self):
        return {
            **super().get_config(),
            "rotary": self.rotary,
            "use_bias": self.use_bias,
        }

    def _heads_first(self, inputs):
        return ops.split(
            ops.transpose(self._project_three(inputs), (0, 2, 1, 3)),
            [self.key_dim, 2 * self.key_dim],
            axis=-1,
        )

"""Multi-head attention to another sequence (Vaswani et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.joined_mask import joined_mask
from keras_xf.layers.multi_head_layer import MultiHeadLayer
from keras_xf.ops import attention


@keras.saving.register_keras_serializable(package="keras_xf")
class CrossAttention(MultiHeadLayer):
    """Lets each position of a sequence attend to those of another, a source.

    Queries come from the inputs, keys and values from the source, as a decoder
    reads what an encoder has made. A source that is read step by step is
    projected once: see `source_state`.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        dropout: Fraction of the attention weights dropped in training.
        use_bias: Whether the projections have biases.
        kernel_initializer: Initializer of the projections. Keys and values are
            one matrix product, and initialized as one matrix.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`.
        source: Float tensor `(batch, source_length, source_dim)`.
        source_mask: Boolean `(batch, source_length)`, True where the source is
            real. A row without any gives zeros, but for biases.
        state: None, or what `source_state` returned, in the source's place.
        training: Whether to drop attention weights.

    Output shape:
        `(batch, length, dim)`; with a state a pair of this and the state.

    Example:

    >>> layer = keras_xf.layers.CrossAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((2, 5, 8)), np.ones((2, 3, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.2.3
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
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
            causal=False,
            dropout=dropout,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            seed=seed,
            **kwargs,
        )

    def build(self, inputs_shape, source_shape=None):
        self._build_projections(inputs_shape, query=self.key_dim)
        source_shape = source_shape or inputs_shape
        check_shape(
            "source", source_shape, "(batch, source_length, dim)", dim=None
        )
        self._source_dim = source_shape[-1]
        self.key_value = self._projection(
            self.num_heads * (self.key_dim + self._value_dim), 2, "key_value"
        )
        self.key_value.build(source_shape)

    def call(
        self,
        inputs,
        source=None,
        source_mask=None,
        state=None,
        training=False,
    ):
        check_shape(
            "inputs", inputs.shape, "(batch, length, dim)", dim=self._dim
        )
        check(
            (source is None) != (state is None),
            "Either `source` or `state` must be given.",
            source=None if source is None else tuple(source.shape),
            state=None if state is None else sorted(state),
        )
        check(
            state is None or source_mask is None,
            "`source_mask` must not be given beside a `state`, which has it.",
            shape=None if source_mask is None else tuple(source_mask.shape),
        )
        given = state
        if state is None:
            given = self._read(source, source_mask)
        query = self._project(self.query, inputs, self.key_dim)
        outputs = attention.attend(
            ops.transpose(query, (0, 2, 1, 3)),
            given["key"],
            given["value"],
            padding_mask=given["mask"],
            dropout=self.dropout if training else 0.0,
            seed=self.seed_generator,
        )
        outputs = self._join_heads(ops.transpose(outputs, (0, 2, 1, 3)))
        return outputs if state is None else (outputs, state)

    def source_state(self, source, source_mask=None) -> dict:
        """Projects a source once, for all positions that will attend to it.

        Args:
            source: Float tensor `(batch, source_length, source_dim)`.
            source_mask: Boolean `(batch, source_length)`, True where it is
                real; all by default.

        Returns:
            A dict of `key` `(batch, num_heads, source_length, key_dim)`,
            `value` alike, and boolean `mask` `(batch, source_length)`.
        """
        source = ops.cast(source, self.compute_dtype)
        if source_mask is None:
            source_mask = ops.ones(ops.shape(source)[:2], "bool")
        return self._read(source, source_mask)

    def compute_output_shape(self, inputs_shape, source_shape=None):
        return tuple(inputs_shape)

    def compute_output_spec(
        self, inputs, source=None, source_mask=None, state=None, training=False
    ):
        return super().compute_output_spec(inputs, state=state)

    def get_config(self):
        config = super().get_config()
        del config["causal"]
        return {**config, "use_bias": self.use_bias}

    def _read(self, source, source_mask):
        check_shape(
            "source",
            source.shape,
            "(batch, source_length, dim)",
            dim=self._source_dim,
        )
        source_mask = joined_mask(source, source_mask, None)
        batch_size, length = ops.shape(source)[:2]
        projected = self.key_value(ops.reshape(source, (-1, self._source_dim)))
        dim = self.key_dim + self._value_dim
        shape = (batch_size, length, self.num_heads, dim)
        heads = ops.transpose(ops.reshape(projected, shape), (0, 2, 1, 3))
        key, value = ops.split(heads, [self.key_dim], axis=-1)
        return {"key": key, "value": value, "mask": source_mask}

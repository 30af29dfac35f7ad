"""What layers of multi-head self-attention have in common."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.joined_mask import joined_mask


class MultiHeadLayer(keras.layers.Layer):
    """Heads and their projections, a state of keys and values, a config.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        causal: Whether a position attends only to itself and to those before.
        dropout: Fraction of the attention weights dropped in training.
        use_bias: Whether the projections have biases.
        kernel_initializer: Initializer of the projections.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments.
    """

    def __init__(
        self,
        num_heads,
        key_dim,
        value_dim,
        *,
        causal,
        dropout,
        kernel_initializer,
        seed,
        use_bias=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = as_integer("num_heads", num_heads)
        self.key_dim = as_integer("key_dim", key_dim)
        if value_dim is not None:
            value_dim = as_integer("value_dim", value_dim)
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.value_dim = value_dim
        self.causal = causal
        self.dropout = dropout
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

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
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }

    @property
    def _value_dim(self):
        return self.key_dim if self.value_dim is None else self.value_dim

    def _build_projections(self, input_shape, **dims):
        """Makes a projection for each name, of a width per head, and back."""
        check_shape("inputs", input_shape, "(batch, length, dim)", dim=None)
        self._dim = input_shape[-1]
        for place, (name, dim) in enumerate(dims.items()):
            projection = self._projection(self.num_heads * dim, place, name)
            projection.build(input_shape)
            setattr(self, name, projection)
        self.output_projection = self._projection(
            self._dim, len(dims), "output_projection"
        )
        self.output_projection.build(
            (*input_shape[:-1], self.num_heads * self._value_dim)
        )

    def _projection(self, units, place, name):
        return keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )

    def _check_call(self, inputs, padding_mask, mask, state):
        """Checks what is given to a call, and returns the only mask."""
        check(
            state is None or self.causal,
            "`state` needs `causal=True`.",
            causal=self.causal,
        )
        check_shape(
            "inputs", inputs.shape, "(batch, length, dim)", dim=self._dim
        )
        return joined_mask(inputs, padding_mask, mask)

    def _project(self, projection, inputs, dim):
        """To `(batch, length, num_heads, dim)`."""
        # A product of matrices proper: that of a tensor of rank 3 makes
        # TensorFlow compute and permute shapes around it.
        batch_size, length = ops.shape(inputs)[:2]
        projected = projection(ops.reshape(inputs, (-1, self._dim)))
        return ops.reshape(projected, (batch_size, length, self.num_heads, dim))

    def _project_three(self, inputs):
        """Queries, keys and values of `query_key_value`."""
        dim = 2 * self.key_dim + self._value_dim
        return self._project(self.query_key_value, inputs, dim)

    def _join_heads(self, outputs):
        """From `(batch, length, num_heads, value_dim)`."""
        batch_size, length = ops.shape(outputs)[:2]
        rows = (-1, self.num_heads * self._value_dim)
        projected = self.output_projection(ops.reshape(outputs, rows))
        return ops.reshape(projected, (batch_size, length, self._dim))

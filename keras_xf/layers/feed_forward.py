"""Position-wise feed-forward network (Vaswani et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.ops.dropout import drop


@keras.saving.register_keras_serializable(package="keras_xf")
class FeedForward(keras.layers.Layer):
    """Widens each position, bends it and narrows it again.

    Computes `activation(x W1 + b1) W2 + b2`, equation (2) of the paper, at
    each position on its own. Masks do not matter to it.

    Args:
        intermediate_dim: Width between the two projections.
        activation: Activation between them, a name or a function. The
            default is the paper's.
        dropout: Fraction of the intermediate values dropped in training.
        use_bias: Whether the projections have biases.
        kernel_initializer: Initializer of both projections.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(..., dim)`.
        training: Whether to drop intermediate values.

    Output shape:
        `(..., dim)`.

    Example:

    >>> layer = keras_xf.layers.FeedForward(intermediate_dim=32)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.3
    """

    def __init__(
        self,
        intermediate_dim: int,
        activation="relu",
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            intermediate_dim > 0,
            "`intermediate_dim` must be positive.",
            intermediate_dim=intermediate_dim,
        )
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.intermediate_dim = intermediate_dim
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        self._dim = input_shape[-1]
        self.widen = self._projection(
            self.intermediate_dim, self.activation, place=0, name="widen"
        )
        self.widen.build(input_shape)
        self.narrow = self._projection(
            input_shape[-1], None, place=1, name="narrow"
        )
        self.narrow.build((*input_shape[:-1], self.intermediate_dim))

    def call(self, inputs, training=False):
        check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=self._dim)
        # A product of matrices proper: that of a tensor of a higher rank makes
        # TensorFlow compute and permute shapes around it.
        x = self.widen(ops.reshape(inputs, (-1, self._dim)))
        if training and self.dropout:
            x = drop(x, self.dropout, self.seed_generator)
        return ops.reshape(self.narrow(x), ops.shape(inputs))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }

    def _projection(self, units, activation, place, name):
        return keras.layers.Dense(
            units,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )

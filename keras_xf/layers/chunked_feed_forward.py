"""Feed-forward network in chunks of positions (Kitaev et al., 2020)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.ops import rematerialized_chunks
from keras_xf.ops import stateless_random


@keras.saving.register_keras_serializable(package="keras_xf")
class ChunkedFeedForward(keras.layers.Layer):
    """A `FeedForward` whose wide intermediate vectors never are all there.

    It computes what `FeedForward` computes, with weights of the same names and
    shapes, a chunk of positions after the other. For the gradient each chunk
    is computed again, so that the intermediate vectors of one chunk are what
    takes memory, whatever the length; that costs the time of one more
    projection. A sequence of one chunk only is computed as `FeedForward` does.

    Dropout differs from `FeedForward`'s and from that with another chunk
    length in what is dropped. Masks do not matter to it.

    Args:
        intermediate_dim: Width between the two projections.
        activation: Activation between them, a name or a pure function. The
            default is that of Vaswani et al.
        chunk_length: Positions in a chunk, in each sequence of the batch; the
            last chunk may be shorter.
        dropout: Fraction of the intermediate values dropped in training.
        use_bias: Whether the projections have biases.
        kernel_initializer: Initializer of both projections.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        training: Whether to drop intermediate values.

    Output shape:
        `(batch, ..., dim)`.

    Example:

    >>> layer = keras_xf.layers.ChunkedFeedForward(32, chunk_length=2)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451), section 3
    """

    def __init__(
        self,
        intermediate_dim: int,
        activation="relu",
        chunk_length: int = 1024,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = as_integer("intermediate_dim", intermediate_dim)
        self.chunk_length = as_integer("chunk_length", chunk_length)
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
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
            self.intermediate_dim, place=0, name="widen"
        )
        self.widen.build(input_shape)
        self.narrow = self._projection(self._dim, place=1, name="narrow")
        self.narrow.build((*input_shape[:-1], self.intermediate_dim))

    def call(self, inputs, training=False):
        check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=self._dim)
        shape = ops.shape(inputs)
        x = inputs
        if len(shape) != 3:
            x = ops.reshape(x, (shape[0], -1, self._dim))
        dropout = self.dropout if training else 0.0
        outputs = rematerialized_chunks.map_chunks(
            lambda rows, weights, seed: _feed_forward(
                rows, weights, self.activation, dropout, seed
            ),
            x,
            self._weights(),
            chunk_length=self.chunk_length,
            seed=stateless_random.draw(self.seed_generator)
            if dropout
            else None,
        )
        return ops.reshape(outputs, shape)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "activation": keras.activations.serialize(self.activation),
            "chunk_length": self.chunk_length,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }

    def _weights(self):
        variables = []
        for projection in (self.widen, self.narrow):
            variables.append(projection.kernel)
            if self.use_bias:
                variables.append(projection.bias)
        # Reading casts to the compute dtype. Chunks' gradients are added up in
        # the variables' own.
        return [ops.cast(v, self.variable_dtype) for v in variables]

    def _projection(self, units, place, name):
        return keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=own_draws(self.kernel_initializer, place),
            dtype=self.dtype_policy,
            name=name,
        )


def _feed_forward(rows, weights, activation, dropout, seed):
    """The network on a matrix of vectors; kernels with or without biases."""
    half = len(weights) // 2
    x = activation(_project(rows, *weights[:half]))
    if dropout:
        kept = stateless_random.keep(seed, ops.shape(x), dropout)
        x = ops.where(kept, x * (1.0 / (1.0 - dropout)), 0.0)
    return _project(x, *weights[half:])


def _project(rows, kernel, bias=None):
    outputs = ops.matmul(rows, ops.cast(kernel, rows.dtype))
    return outputs if bias is None else outputs + ops.cast(bias, rows.dtype)

"""Token embedding that also reads vectors as logits (Press & Wolf, 2017)."""

import math

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.ops import embedding


@keras.saving.register_keras_serializable(package="keras_xf")
class TokenEmbedding(keras.layers.Layer):
    """Turns token ids into vectors and, in reverse, vectors into logits.

    Both directions share one table, unless `tied` is False. Vectors are
    multiplied by `sqrt(dim)` and the table starts with a standard deviation
    of `1 / sqrt(dim)`, so that vectors start with a variance of one and so do
    the logits of normalized vectors.

    Masks do not matter to it; the gradient is dense and exact with every
    optimizer.

    Args:
        vocabulary_size: Number of tokens.
        dim: Width of a vector.
        tied: Whether both directions use one table.
        embeddings_initializer: Initializer of the tables; by default normal
            with a standard deviation of `dim**-0.5`.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Integer tensor of ids in `[0, vocabulary_size)` of any shape;
            if `reverse`, float tensor `(..., dim)`.
        reverse: Whether to turn vectors into logits.

    Output shape:
        `(*inputs.shape, dim)`; if `reverse` `(..., vocabulary_size)`, in
        float32 or wider.

    Example:

    >>> layer = keras_xf.layers.TokenEmbedding(vocabulary_size=100, dim=8)
    >>> vectors = layer(np.array([[1, 2, 3]]))
    >>> layer(vectors, reverse=True).shape
    TensorShape([1, 3, 100])

    Reference:
        [Press & Wolf, 2017](https://arxiv.org/abs/1608.05859)
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.4
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        tied: bool = True,
        embeddings_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            vocabulary_size > 0,
            "`vocabulary_size` must be positive.",
            vocabulary_size=vocabulary_size,
        )
        check(dim > 0, "`dim` must be positive.", dim=dim)
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.tied = tied
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )

    def build(self, input_shape=None):
        # Not cast along with the inputs: few rows of the table are looked up.
        self.embeddings = self._table("embeddings", place=0)
        if not self.tied:
            self.reverse_embeddings = self._table("reverse_embeddings", place=1)

    def call(self, inputs, reverse=False):
        if reverse:
            return self._logits(inputs)
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        check(
            "int" in dtype, "`inputs` must be integer token ids.", dtype=dtype
        )
        # TensorFlow gathers by int32 and int64 alone.
        ids = inputs if dtype == "int64" else ops.cast(inputs, "int32")
        vectors = embedding.look_up(self.embeddings, ids)
        return ops.cast(vectors * math.sqrt(self.dim), self.compute_dtype)

    def compute_output_shape(self, input_shape, reverse=False):
        if reverse:
            return (*input_shape[:-1], self.vocabulary_size)
        return (*input_shape, self.dim)

    def compute_output_spec(self, inputs, reverse=False):
        shape = self.compute_output_shape(inputs.shape, reverse)
        dtype = self._logits_dtype if reverse else self.compute_dtype
        return keras.KerasTensor(shape, dtype=dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "dim": self.dim,
            "tied": self.tied,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }

    @property
    def _logits_dtype(self):
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _table(self, name, place):
        initializer = self.embeddings_initializer
        if initializer is None:
            initializer = keras.initializers.RandomNormal(stddev=self.dim**-0.5)
        return self.add_weight(
            shape=(self.vocabulary_size, self.dim),
            initializer=own_draws(initializer, place),
            name=name,
            autocast=False,
        )

    def _logits(self, vectors):
        check_shape("inputs", vectors.shape, "(batch, ..., dim)", dim=self.dim)
        table = self.embeddings if self.tied else self.reverse_embeddings
        table = ops.cast(table, self.compute_dtype)
        # A product of matrices proper, see FeedForward.
        flat = ops.reshape(vectors, (-1, self.dim))
        logits = ops.cast(
            ops.matmul(flat, ops.transpose(table)), self._logits_dtype
        )
        return ops.reshape(
            logits, (*ops.shape(vectors)[:-1], self.vocabulary_size)
        )

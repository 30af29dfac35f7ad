"""Token embedding that is narrower for rare tokens (Baevski & Auli, 2019)."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.token_ids import as_token_ids
from keras_xf.layers.vocabulary_bins import VocabularyBins
from keras_xf.ops import embedding


@keras.saving.register_keras_serializable(package="keras_xf")
class AdaptiveEmbedding(keras.layers.Layer):
    """Turns token ids into vectors, from narrower tables for rarer tokens.

    The vocabulary, which must be in the order of frequency, is cut into bins
    at the `cutoffs`. The embeddings of the bin `i` are `embedding_dim //
    divisor**i` wide, and projected to the width of the model. Vectors are
    multiplied by `sqrt(dim)`, as Transformer-XL does.

    With a `divisor` of 1 there is one table for all tokens, and a projection
    only if `embedding_dim` is not `dim`; so there is with one bin.

    The initializers' default standard deviations, 0.02 and 0.01, are the
    published ones. With them a model that is `dim` wide begins with vectors
    that have a standard deviation of `2e-4 * sqrt(embedding_dim * dim)`: 0.2
    for the published 1024, but 0.05 for 256. A small model learns faster with
    a standard deviation of `dim**-0.5` for the tables and "lecun_normal" for
    the projections: then vectors begin with a variance of one, and so do the
    logits of normalized vectors, whatever the widths.

    Masks do not matter to it; the gradient is dense and exact with every
    optimizer.

    Args:
        vocabulary_size: Number of tokens.
        dim: Width of a vector.
        cutoffs: Tokens with which a new bin begins, increasing, such as
            (20000, 40000, 200000) for WikiText-103. None by default: one bin.
        embedding_dim: Width of the first bin's embeddings; `dim` by default.
        divisor: By how much each bin's are narrower than those of the bin
            before.
        embeddings_initializer: Initializer of the tables; normal with a
            standard deviation of 0.02 by default.
        projections_initializer: Initializer of the projections; normal with
            a standard deviation of 0.01 by default.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        token_ids: Integer tensor of any shape, in `[0, vocabulary_size)`. In
            eager execution others are a `ValueError`. In a graph on a CPU
            those beyond the last are an `InvalidArgumentError`; compiled by
            XLA they are not noticed, and negative ones never are.
        return_tables: Whether to return the tables as well, for an
            `AdaptiveSoftmax` to share.

    Output shape:
        `(*token_ids.shape, dim)`; if `return_tables` a pair with
        `{"tables": [...], "projections": [...]}`, of shapes `(tokens, width)`
        and `(width, dim)`, in the dtype of the weights.

    Example:

    >>> layer = keras_xf.layers.AdaptiveEmbedding(
    ...     vocabulary_size=1000, dim=8, cutoffs=(100, 300), divisor=2
    ... )
    >>> vectors, tables = layer(np.array([[1, 200, 999]]), return_tables=True)
    >>> vectors.shape
    TensorShape([1, 3, 8])
    >>> [tuple(table.shape) for table in tables["tables"]]
    [(100, 8), (200, 4), (700, 2)]

    Reference:
        [Baevski & Auli, 2019](https://arxiv.org/abs/1809.10853), section 3
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860); the scale is in
        the code that they published.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        cutoffs: Sequence[int] = (),
        embedding_dim: int | None = None,
        divisor: int = 1,
        embeddings_initializer=None,
        projections_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim = as_integer("dim", dim)
        self._bins = VocabularyBins(
            vocabulary_size, self.dim, cutoffs, embedding_dim, divisor
        )
        self.vocabulary_size = vocabulary_size
        self.cutoffs = tuple(map(int, cutoffs))
        self.embedding_dim = embedding_dim
        self.divisor = divisor
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
            or keras.initializers.RandomNormal(stddev=0.02)
        )
        self.projections_initializer = keras.initializers.get(
            projections_initializer
            or keras.initializers.RandomNormal(stddev=0.01)
        )

    def build(self, input_shape=None):
        # Not cast along with the inputs: few rows of a table are looked up.
        self.tables = [
            self.add_weight(
                shape=shape,
                initializer=own_draws(self.embeddings_initializer, place),
                name=f"table_{place}",
                autocast=False,
            )
            for place, shape in enumerate(self._bins.table_shapes)
        ]
        self.projections = [
            self.add_weight(
                shape=shape,
                initializer=own_draws(self.projections_initializer, place),
                name=f"projection_{place}",
                autocast=False,
            )
            for place, shape in enumerate(self._bins.projection_shapes)
        ]

    def call(self, token_ids, return_tables=False):
        ids = as_token_ids("token_ids", token_ids, self.vocabulary_size)
        tables = [ops.convert_to_tensor(table) for table in self.tables]
        projections = [ops.convert_to_tensor(p) for p in self.projections]
        # What all tables give side by side, zeros but for one of them: one
        # product projects it.
        vectors = ops.concatenate(
            embedding.look_up_in_bins(tables, ids), axis=-1
        )
        vectors = ops.cast(vectors * math.sqrt(self.dim), self.compute_dtype)
        if projections:
            joined = ops.concatenate(projections, axis=0)
            flat = ops.reshape(vectors, (-1, joined.shape[0]))
            flat = ops.matmul(flat, ops.cast(joined, self.compute_dtype))
            vectors = ops.reshape(flat, (*ops.shape(ids), self.dim))
        if return_tables:
            return vectors, {"tables": tables, "projections": projections}
        return vectors

    def compute_output_shape(self, input_shape, return_tables=False):
        shape = (*input_shape, self.dim)
        if return_tables:
            return shape, {
                "tables": list(self._bins.table_shapes),
                "projections": list(self._bins.projection_shapes),
            }
        return shape

    def compute_output_spec(self, token_ids, return_tables=False):
        vectors = keras.KerasTensor(
            (*token_ids.shape, self.dim), dtype=self.compute_dtype
        )
        if return_tables:
            shapes = {
                "tables": self._bins.table_shapes,
                "projections": self._bins.projection_shapes,
            }
            return vectors, {
                name: [
                    keras.KerasTensor(shape, dtype=self.variable_dtype)
                    for shape in part
                ]
                for name, part in shapes.items()
            }
        return vectors

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "dim": self.dim,
            "cutoffs": list(self.cutoffs),
            "embedding_dim": self.embedding_dim,
            "divisor": self.divisor,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "projections_initializer": keras.initializers.serialize(
                self.projections_initializer
            ),
        }

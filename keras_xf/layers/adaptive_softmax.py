"""Softmax that is cheaper for rare tokens (Grave et al., 2017)."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.token_ids import as_token_ids
from keras_xf.layers.vocabulary_bins import VocabularyBins
from keras_xf.layers.vocabulary_bins import check_bins
from keras_xf.ops import adaptive_softmax
from keras_xf.ops import stateless_random
from keras_xf.ops.logits import wide_dtype


@keras.saving.register_keras_serializable(package="keras_xf")
class AdaptiveSoftmax(keras.layers.Layer):
    """Turns vectors into log-probabilities of tokens, rare ones cheaply.

    The vocabulary, which must be in the order of frequency, is cut into bins
    at the `cutoffs`. A softmax over the first bin and one entry for each of
    the others, in order, says which bin the token is in; a softmax for each
    other bin says which of its tokens it is. The logits of a bin are
    `(inputs P^T) E^T + b`, with the tables E and projections P of an
    `AdaptiveEmbedding` where they are tied, and the biases, and the entries
    of the bins, always its own.

    With `target_ids` it computes their negative log-likelihoods, in the order
    of the tokens, without the log-probabilities of all others: the logits of
    a bin are made for those of its tokens only. These have first derivatives
    only. `sample` draws tokens in the same way.

    Masks do not matter to it.

    Args:
        vocabulary_size: Number of tokens.
        cutoffs: Tokens with which a new bin begins, increasing. None by
            default: one bin, an ordinary softmax.
        embedding_dim: Width of the first bin's table; by default that of the
            inputs.
        divisor: By how much each bin's table is narrower than that of the bin
            before. With 1 there is one table, of which the bins are slices,
            and projections only if its width is not that of the inputs.
        tied_embeddings: Whether the tables are those of an
            `AdaptiveEmbedding`, else own ones.
        tied_projections: Whether the projections are, too; one truth value,
            or one for each bin. The published large models have one of their
            own for the first bin: (False, True, True, True).
        embeddings_initializer: Initializer of own tables and of the entries
            of the bins; normal with a standard deviation of 0.02 by default.
        projections_initializer: Initializer of own projections; normal with
            a standard deviation of 0.01 by default. See `AdaptiveEmbedding`
            for small models.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(..., dim)`.
        tables: What an `AdaptiveEmbedding` of the same bins returned with
            `return_tables`. Needed if anything is tied.
        target_ids: Integer tensor `(...)` in `[0, vocabulary_size)`, whose
            negative log-likelihoods are wanted. In eager execution others are
            a `ValueError`, in a graph on a CPU an `InvalidArgumentError`, and
            where XLA compiled it they give NaN.

    Output shape:
        Without `target_ids` log-probabilities `(..., vocabulary_size)` in the
        order of the tokens; with them negative log-likelihoods `(...)`. In
        float32 or wider.

    Example:

    >>> bins = {"cutoffs": (100, 300), "divisor": 2}
    >>> embedding = keras_xf.layers.AdaptiveEmbedding(1000, dim=8, **bins)
    >>> softmax = keras_xf.layers.AdaptiveSoftmax(1000, **bins)
    >>> ids = np.array([[1, 200, 999]])
    >>> vectors, tables = embedding(ids, return_tables=True)
    >>> softmax(vectors, tables=tables).shape
    TensorShape([1, 3, 1000])
    >>> softmax(vectors, tables=tables, target_ids=ids).shape
    TensorShape([1, 3])

    Reference:
        [Grave et al., 2017](https://arxiv.org/abs/1609.04309)
        [Baevski & Auli, 2019](https://arxiv.org/abs/1809.10853), section 3
    """

    def __init__(
        self,
        vocabulary_size: int,
        cutoffs: Sequence[int] = (),
        embedding_dim: int | None = None,
        divisor: int = 1,
        tied_embeddings: bool = True,
        tied_projections: bool | Sequence[bool] = True,
        embeddings_initializer=None,
        projections_initializer=None,
        **kwargs,
    ):
        # What comes from variables stays in their dtype.
        super().__init__(autocast=False, **kwargs)
        check_bins(vocabulary_size, cutoffs, embedding_dim, divisor)
        check(
            isinstance(tied_projections, bool)
            or (
                isinstance(tied_projections, Sequence)
                and len(tied_projections) == len(cutoffs) + 1
                and all(isinstance(tied, bool) for tied in tied_projections)
            ),
            "`tied_projections` must be a truth value, or one for each bin.",
            tied_projections=tied_projections,
            cutoffs=cutoffs,
        )
        self.vocabulary_size = vocabulary_size
        self.cutoffs = tuple(map(int, cutoffs))
        self.embedding_dim = embedding_dim
        self.divisor = divisor
        self.tied_embeddings = tied_embeddings
        self.tied_projections = (
            tied_projections
            if isinstance(tied_projections, bool)
            else tuple(tied_projections)
        )
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
            or keras.initializers.RandomNormal(stddev=0.02)
        )
        self.projections_initializer = keras.initializers.get(
            projections_initializer
            or keras.initializers.RandomNormal(stddev=0.01)
        )
        self.supports_masking = True

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(..., dim)", dim=None)
        self._dim = input_shape[-1]
        bins = self._bins = VocabularyBins(
            self.vocabulary_size,
            self._dim,
            self.cutoffs,
            self.embedding_dim,
            self.divisor,
        )
        num_bins = len(bins.sizes)
        self.biases = [
            self._weight(f"bias_{place}", (size,), "zeros")
            for place, size in enumerate(bins.sizes)
        ]
        if self.cutoffs:
            self.bin_table = self._weight(
                "bin_table",
                (num_bins - 1, bins.dims[0]),
                own_draws(self.embeddings_initializer, num_bins),
            )
            self.bin_bias = self._weight("bin_bias", (num_bins - 1,), "zeros")
        self.tables = [
            self._weight(
                f"table_{place}",
                shape,
                own_draws(self.embeddings_initializer, place),
            )
            for place, shape in enumerate(bins.table_shapes)
            if not self.tied_embeddings
        ]
        tied = self.tied_projections
        self._ties = [tied] * num_bins if isinstance(tied, bool) else tied
        self.projections = [
            None
            if tied
            else self._weight(
                f"projection_{place}",
                (bins.dims[place], self._dim),
                own_draws(self.projections_initializer, place),
            )
            for place, tied in enumerate(self._ties)
            if bins.projection_shapes
        ]

    def call(self, inputs, tables=None, target_ids=None):
        hidden, bins = self._prepare(inputs, tables)
        lead = ops.shape(inputs)[:-1]
        if target_ids is None:
            outputs = adaptive_softmax.log_probs(hidden, bins)
            return ops.reshape(outputs, (*lead, self.vocabulary_size))
        check(
            _are_compatible(target_ids.shape, inputs.shape[:-1]),
            "`target_ids` must have the shape of `inputs` without its last "
            "axis.",
            target_ids=tuple(target_ids.shape),
            inputs=tuple(inputs.shape),
        )
        ids = as_token_ids("target_ids", target_ids, self.vocabulary_size)
        outputs = adaptive_softmax.nll(hidden, bins, ops.reshape(ids, (-1,)))
        return ops.reshape(outputs, lead)

    def sample(self, inputs, seed=None, tables=None, noise=None):
        """Draws tokens by their probabilities.

        An entry of the first softmax is drawn, and if it is a bin, one of its
        tokens: the log-probabilities of all tokens are never made, nor is a
        bin's softmax for rows that are in another. For temperatures and the
        like, which are not those of the parts, see
        `keras_xf.decoding.sample`.

        Args:
            inputs: Float tensor `(..., dim)`.
            seed: int32 tensor `(2,)`: what is drawn depends on nothing else.
            tables: As in the call.
            noise: Float32 tensor `(..., 2)`, uniform in `[0, 1)`, instead of
                a seed.

        Returns:
            int32 tensor `(...)`.

        Raises:
            ValueError: If there is not one of `seed` and `noise`.
        """
        check(
            (seed is None) != (noise is None),
            "`seed` must be given, or `noise`, and not both.",
            seed=seed,
            noise=noise,
        )
        inputs = ops.convert_to_tensor(inputs)
        if not self.built:
            self.build(inputs.shape)
        hidden, bins = self._prepare(inputs, tables)
        if noise is None:
            noise = stateless_random.uniform(seed, (ops.shape(hidden)[0], 2))
        else:
            noise = ops.reshape(noise, (-1, 2))
        token_ids = adaptive_softmax.sample(hidden, bins, noise)
        return ops.reshape(token_ids, ops.shape(inputs)[:-1])

    def compute_output_shape(self, input_shape, target_ids_shape=None):
        lead = tuple(input_shape[:-1])
        if target_ids_shape is not None:
            return lead
        return (*lead, self.vocabulary_size)

    def compute_output_spec(self, inputs, tables=None, target_ids=None):
        shape = self.compute_output_shape(
            inputs.shape, None if target_ids is None else target_ids.shape
        )
        return keras.KerasTensor(shape, dtype=wide_dtype(self.compute_dtype))

    def get_config(self):
        tied = self.tied_projections
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "cutoffs": list(self.cutoffs),
            "embedding_dim": self.embedding_dim,
            "divisor": self.divisor,
            "tied_embeddings": self.tied_embeddings,
            "tied_projections": tied if isinstance(tied, bool) else list(tied),
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "projections_initializer": keras.initializers.serialize(
                self.projections_initializer
            ),
        }

    def _weight(self, name, shape, initializer):
        return self.add_weight(
            shape=shape, initializer=initializer, name=name, autocast=False
        )

    def _prepare(self, inputs, tables):
        check_shape("inputs", inputs.shape, "(..., dim)", dim=self._dim)
        hidden = ops.reshape(
            ops.cast(inputs, self.compute_dtype), (-1, self._dim)
        )
        return hidden, self._make_bins(tables)

    def _make_bins(self, given):
        tables = self._find_tables(given)
        projections = self._find_projections(given)
        if len(tables) < len(self.biases):
            (table,) = tables
            tables = [
                table[start : start + size]
                for start, size in zip(
                    self._bins.starts, self._bins.sizes, strict=True
                )
            ]
        biases = [ops.convert_to_tensor(bias) for bias in self.biases]
        if self.cutoffs:
            tables[0] = ops.concatenate([tables[0], self.bin_table], axis=0)
            biases[0] = ops.concatenate([biases[0], self.bin_bias], axis=0)
        return [
            adaptive_softmax.Bin(*parts)
            for parts in zip(tables, biases, projections, strict=True)
        ]

    def _find_tables(self, given):
        if not self.tied_embeddings:
            return [ops.convert_to_tensor(table) for table in self.tables]
        tables = _find_shared(given, "tables", self._bins.table_shapes)
        return [ops.cast(table, self.variable_dtype) for table in tables]

    def _find_projections(self, given):
        shapes = self._bins.projection_shapes
        if not shapes:
            return [None] * len(self.biases)
        shared = []
        if any(self._ties):
            shared = _find_shared(given, "projections", shapes)
            # One table has one projection, for all bins that share it.
            shared *= len(self.biases) // len(shared)
        return [
            shared[place] if own is None else ops.convert_to_tensor(own)
            for place, own in enumerate(self.projections)
        ]


def _find_shared(given, name, shapes):
    check(
        given is not None,
        "`tables` must be given to a softmax that is tied: what "
        "`AdaptiveEmbedding` returns with `return_tables=True`.",
        tables=given,
    )
    found = [ops.convert_to_tensor(tensor) for tensor in given[name]]
    check(
        [tuple(tensor.shape) for tensor in found] == list(shapes),
        f"`tables` must hold {name} of the shapes {list(shapes)}: those of an "
        "`AdaptiveEmbedding` with the same bins.",
        **{name: [tuple(tensor.shape) for tensor in found]},
    )
    return found


def _are_compatible(shape, other):
    return len(shape) == len(other) and all(
        a == b or a is None or b is None
        for a, b in zip(shape, other, strict=True)
    )

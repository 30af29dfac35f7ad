"""How a vocabulary is cut into bins of tokens, common ones first."""

import itertools
from collections.abc import Sequence
from numbers import Integral

from keras_xf.checks import as_integer
from keras_xf.checks import check


class VocabularyBins:
    """The bins of a vocabulary, and the widths of their embeddings.

    Attributes:
        starts: First token of each bin.
        sizes: Number of tokens of each bin.
        dims: Width of each bin's embeddings.
        table_shapes: Shapes of the tables: one for each bin or, where all are
            of one width, one for all of them.
        projection_shapes: Shapes of the projections from the tables' widths
            to that of the model: one for each table, or none where the only
            table has the width of the model.

    Args:
        vocabulary_size: Number of tokens.
        dim: Width of the model.
        cutoffs: Where a new bin begins.
        embedding_dim: Width of the first bin's embeddings; None for `dim`.
        divisor: By how much each bin's embeddings are narrower than those of
            the bin before.

    Raises:
        ValueError: If the arguments do not fit together.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        cutoffs: Sequence[int],
        embedding_dim: int | None,
        divisor: int,
    ):
        check_bins(vocabulary_size, cutoffs, embedding_dim, divisor)
        bounds = [0, *cutoffs, vocabulary_size]
        first_dim = dim if embedding_dim is None else embedding_dim
        if embedding_dim is None:
            _check_dim("dim", dim, cutoffs, divisor)
        self.starts = tuple(bounds[:-1])
        self.sizes = tuple(b - a for a, b in itertools.pairwise(bounds))
        self.dims = tuple(
            first_dim // divisor**place for place in range(len(self.sizes))
        )
        if divisor == 1 or len(self.sizes) == 1:
            self.table_shapes = ((vocabulary_size, first_dim),)
            needs_projections = first_dim != dim
        else:
            self.table_shapes = tuple(zip(self.sizes, self.dims, strict=True))
            needs_projections = True
        self.projection_shapes = tuple(
            (width, dim) for _, width in self.table_shapes if needs_projections
        )


def check_bins(
    vocabulary_size: int,
    cutoffs: Sequence[int],
    embedding_dim: int | None,
    divisor: int,
) -> None:
    """Raises `ValueError` unless there can be such bins.

    Args:
        vocabulary_size: As in `VocabularyBins`.
        cutoffs: As in `VocabularyBins`.
        embedding_dim: As in `VocabularyBins`; None if not yet known.
        divisor: As in `VocabularyBins`.

    Raises:
        ValueError: If the arguments do not fit together.
    """
    as_integer("vocabulary_size", vocabulary_size)
    check(
        isinstance(cutoffs, Sequence)
        and all(isinstance(cutoff, Integral) for cutoff in cutoffs),
        "`cutoffs` must be a sequence of integers.",
        cutoffs=cutoffs,
    )
    check(
        all(a < b for a, b in itertools.pairwise((0, *cutoffs))),
        "`cutoffs` must be positive and increase.",
        cutoffs=cutoffs,
    )
    check(
        not cutoffs or cutoffs[-1] < vocabulary_size,
        "`cutoffs` must be less than `vocabulary_size`.",
        cutoffs=cutoffs,
        vocabulary_size=vocabulary_size,
    )
    as_integer("divisor", divisor)
    if embedding_dim is not None:
        as_integer("embedding_dim", embedding_dim)
        _check_dim("embedding_dim", embedding_dim, cutoffs, divisor)


def _check_dim(name, dim, cutoffs, divisor):
    check(
        dim >= divisor ** len(cutoffs),
        f"`{name}` must be wide enough to be divided by `divisor` once for "
        "each of the `cutoffs`.",
        **{name: dim},
        divisor=divisor,
        cutoffs=cutoffs,
    )

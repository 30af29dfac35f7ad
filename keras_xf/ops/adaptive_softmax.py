"""Softmax over bins of tokens, rare ones cheaply (Grave et al., 2017).

The first bin, the head, holds the most common tokens and, behind them, one
entry for each other bin in order: the probability that the token is in it.
"""

import dataclasses

from keras import ops

from keras_xf.ops.chosen_cross_entropy import chosen_cross_entropy
from keras_xf.ops.chosen_rows import ChosenRows
from keras_xf.ops.distributions import invert_distribution
from keras_xf.ops.logits import wide_dtype

# A batch that is drawn for is small, and few of its tokens are rare.
_SAMPLED_TOGETHER = 16


@dataclasses.dataclass(frozen=True)
class Bin:
    """What makes the logits of a bin: `(hidden P^T) E^T + b`.

    Attributes:
        table: Float tensor `(entries, width)`, E.
        bias: Float tensor `(entries,)`, b.
        projection: Float tensor `(width, dim)`, P, or None if `width` is
            `dim`.
    """

    table: object
    bias: object
    projection: object = None

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.table.shape[0]

    def logits(self, hidden):
        """Computes logits.

        Args:
            hidden: Float tensor `(rows, dim)`. Products are of its dtype.

        Returns:
            Tensor `(rows, entries)` in float32 or wider.
        """
        products = ops.matmul(
            self.project(hidden),
            ops.transpose(ops.cast(self.table, hidden.dtype)),
        )
        wide = wide_dtype(hidden.dtype)
        return ops.cast(products, wide) + ops.cast(self.bias, wide)

    def project(self, hidden):
        """Vectors `(rows, dim)` as vectors of the table's width."""
        if self.projection is None:
            return hidden
        projection = ops.cast(self.projection, hidden.dtype)
        return ops.matmul(hidden, ops.transpose(projection))


def log_probs(hidden, bins):
    """Log-probabilities of all tokens.

    Args:
        hidden: Float tensor `(rows, dim)`.
        bins: A `Bin` for each bin. The first has one more entry for each of
            the others, behind those of its tokens.

    Returns:
        Tensor `(rows, tokens)` in float32 or wider, in the order of the
        tokens.
    """
    head, *tails = bins
    of_head = ops.log_softmax(head.logits(hidden), axis=-1)
    num_common = head.size - len(tails)
    parts = [of_head[:, :num_common]]
    for place, tail in enumerate(tails, num_common):
        within = ops.log_softmax(tail.logits(hidden), axis=-1)
        parts.append(of_head[:, place : place + 1] + within)
    return ops.concatenate(parts, axis=-1)


def nll(hidden, bins, target_ids, block_length: int | None = None):
    """Negative log-likelihoods of tokens.

    Beside the logits of the first bin no others are made than those of the
    bin that a token is in. First derivatives only.

    Args:
        hidden: Float tensor `(rows, dim)`.
        bins: As in `log_probs`.
        target_ids: Integer tensor `(rows,)`.
        block_length: Rows whose logits are made at a time, as in
            `chosen_cross_entropy`.

    Returns:
        Tensor `(rows,)` in float32 or wider.
    """
    head, *tails = bins
    num_common = head.size - len(tails)
    # Ids beyond the last bin are not those of entries either, and noticed.
    entry, start = target_ids, num_common
    total = 0.0
    for place, tail in enumerate(tails, num_common):
        row = target_ids - start
        is_here = ops.logical_and(row >= 0, row < tail.size)
        total += chosen_cross_entropy(
            *_join_bias(tail, tail.project(hidden)),
            ops.clip(row, 0, tail.size - 1),
            is_here,
            block_length=block_length,
        )
        entry = ops.where(is_here, place, entry)
        start += tail.size
    return total + ops.sparse_categorical_crossentropy(
        entry, head.logits(hidden), from_logits=True
    )


def sample(hidden, bins, noise):
    """Draws tokens by their probabilities: an entry, then a token of its bin.

    Beside the logits of the first bin no others are made than those of the
    bins that were drawn.

    Args:
        hidden: Float tensor `(rows, dim)`.
        bins: As in `log_probs`.
        noise: Float32 tensor `(rows, 2)`, uniform in `[0, 1)`.

    Returns:
        int32 tensor `(rows,)`.
    """
    head, *tails = bins
    num_common = head.size - len(tails)
    token_ids = entry = _draw(head.logits(hidden), noise[:, 0])
    start = num_common
    for place, tail in enumerate(tails, num_common):
        is_here = entry == place

        def draw_block(take, is_chosen, totals, tail=tail):
            logits = tail.logits(take(hidden))
            return [_draw(logits, take(noise)[:, 1])], totals

        (within,), _ = ChosenRows(is_here, _SAMPLED_TOGETHER).loop(
            draw_block, [((), "int32")], after=hidden
        )
        token_ids = ops.where(is_here, start + within, token_ids)
        start += tail.size
    return token_ids


def _draw(logits, noise):
    logits -= ops.max(logits, axis=-1, keepdims=True)
    return invert_distribution(ops.exp(logits), ops.cast(noise, logits.dtype))


def _join_bias(tail, vectors):
    """Vectors and table, wider by the bias."""
    wide = wide_dtype(vectors.dtype)
    vectors, table, bias = (
        ops.cast(x, wide) for x in (vectors, tail.table, tail.bias)
    )
    ones = ops.ones_like(vectors[:, :1])
    return (
        ops.concatenate([vectors, ones], axis=1),
        ops.concatenate([table, bias[:, None]], axis=1),
    )

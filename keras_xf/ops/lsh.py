"""LSH attention (Kitaev et al., 2020): softmax over near keys alone.

A position's query doubles as its key, which is scaled to unit length. In each
round of hashing the positions are sorted by bucket and cut into chunks of
equal length; a chunk attends to itself and to the chunks around it.
"""

import dataclasses

from keras import ops

from keras_xf.ops import chunks
from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.logits import wide_dtype
from keras_xf.ops.lsh_bias import LSHBias


def attend(
    query_key,
    value,
    buckets,
    *,
    windows: ChunkWindows,
    padding_mask=None,
    causal: bool = False,
    dropout: float = 0.0,
    seed=None,
    deduplicate: bool = False,
    across_buckets: bool = True,
    logit_scale: float = 1.0,
):
    """Attends to what shares a chunk, or is in one near, in any round.

    The rounds are combined by softmax: a query attends once to all that it
    sees in all rounds, to what it sees twice with twice the weight. To itself
    it attends only if it sees nothing else. Sequences no longer than a chunk
    get dense attention, whatever the buckets.

    Causal attention lets no later value in; yet which earlier positions share
    a chunk with a query depends on the buckets of later ones as well.

    Args:
        query_key: Float tensor `(batch, length, num_heads, key_dim)`.
        value: Float tensor `(batch, length, num_heads, value_dim)`.
        buckets: int32 `(batch, num_heads, num_hashes, length)`, where what is
            not real has a bucket behind all others. May be None if the
            length is known and no longer than a chunk.
        windows: Length of the chunks, and what is seen from where. With a
            wrap of "rounds" the results are those of the published
            checkpoints: equal but where a query sees nothing but itself,
            where the sum of the rounds' weights has lost precision.
        padding_mask: Boolean `(batch, length)`, True where a key is real.
        causal: Whether a query sees only positions up to its own.
        dropout: Fraction of the attention weights that is dropped.
        seed: int32 `(2,)`, the seed of the dropout.
        deduplicate: Whether what is seen several times weighs as if it were
            seen once (appendix A of the paper).
        across_buckets: Whether a query sees other buckets than its own, as
            far as they are in its window; if not, equation (4) of the paper.
        logit_scale: Factor of the logits, beside the keys' unit length.

    Returns:
        Tensor like `value`.
    """
    length, size = query_key.shape[1], windows.chunk_length
    orders, bias = None, None
    if length is None or length > size or not across_buckets:
        orders = sort(buckets)
        if deduplicate or not across_buckets:
            bias = LSHBias(
                buckets,
                orders,
                windows,
                padding_mask=padding_mask,
                deduplicate=deduplicate,
                across_buckets=across_buckets,
                dtype=wide_dtype(query_key.dtype),
            )
    else:
        windows = dataclasses.replace(windows, wrap=None)
    outputs, log_sums = chunks.attend(
        query_key,
        None,
        value,
        orders,
        windows=windows,
        padding_mask=padding_mask,
        causal=causal,
        attend_to_self=False,
        key_scale=logit_scale,
        bias=bias,
        dropout=dropout,
        seed=seed,
    )
    if log_sums is None:
        return outputs
    short = ops.shape(query_key)[1] <= size
    share = ops.where(short, 1.0, _reference_share(log_sums))
    return outputs * ops.cast(share[..., None], outputs.dtype)


def sort(buckets):
    """Sorts positions by bucket, those of one bucket by position.

    Args:
        buckets: int32 `(batch, num_heads, num_hashes, length)`.

    Returns:
        int32 tensor alike, the positions in their order.
    """
    # Stable: keys joined of bucket and position would overflow an int32.
    orders = ops.argsort(buckets, axis=-1)
    # Of a length that is not known, `argsort` forgets the other axes too.
    return ops.reshape(orders, ops.shape(buckets))


def _reference_share(log_sums):
    """What the references' rounding leaves of a query that sees only itself.

    They subtract sums of logits of -1e5 each, in float32, and so lose what
    the sums' logarithms are: of 4 rounds' weights they get the sum 1.0035.
    """
    alone = ops.max(log_sums, axis=0) < chunks.SELF_LOGIT / 2
    copies = ops.where(alone, log_sums - chunks.SELF_LOGIT, 0.0)
    copies = ops.cast(ops.round(ops.exp(copies)), "float32")
    log_sums = chunks.SELF_LOGIT + ops.log(copies)
    top = ops.max(log_sums, axis=0)
    joint = top + ops.log(ops.sum(ops.exp(log_sums - top), axis=0))
    share = copies * ops.exp(chunks.SELF_LOGIT - log_sums)
    share = ops.sum(share * ops.exp(log_sums - joint), axis=0)
    return ops.stop_gradient(ops.where(alone, share, 1.0))

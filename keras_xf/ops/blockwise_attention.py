"""Dense attention in memory linear in length (Dao et al., 2022).

The logits never stand in memory as a whole: for a block of queries they are
made block of keys by block of keys, with the running maximum and sum of
Milakov and Gimelshein (2018), and made again for the gradients.
"""

import math

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.ops import target_platform
from keras_xf.ops.attention_blocks import AttentionBlocks
from keras_xf.ops.attention_blocks import Cut
from keras_xf.ops.block_masks import BlockMasks
from keras_xf.ops.block_passes import BlockPasses
from keras_xf.ops.logits import wide_dtype
from keras_xf.ops.only_first import only_first

_BLOCK_LENGTH = 512


def attend(
    query,
    key,
    value,
    *,
    dropout: float = 0.0,
    seed=None,
    block_length: int | None = None,
    batched: bool | None = None,
    **masks,
):
    """What `keras_xf.ops.attention.attend` computes, block by block.

    Blocks of keys that no query of a block may see cost nothing: those after
    the queries' positions if `causal`, and those after the last real key of
    a padded row. Products are of float32, or of float64, whatever the tensors
    are. Gradients of gradients are not supported, and raise; the plain form
    has them.

    Args:
        query: Float tensor `(batch, num_heads, target_length, key_dim)`.
        key: Float tensor `(batch, num_heads, source_length, key_dim)`.
        value: Float tensor `(batch, num_heads, source_length, value_dim)`.
        dropout: Fraction of the attention weights that is dropped.
        seed: Int32 tensor `(2,)`, the seed of the dropout. What is dropped
            depends on `block_length` and `batched`, too.
        block_length: Queries, and keys, of a block at most; None for 512,
            measured to be about the fastest on a CPU.
        batched: Whether all heads of all rows go through the same block at
            once, which takes batch and heads times the memory of one block,
            a tenth more time on a CPU, and is what keeps a GPU busy. By
            default where `target_platform` is a GPU.
        **masks: `padding_mask`, `attention_mask`, `causal` and
            `query_positions`, as there.

    Returns:
        Float tensor `(batch, num_heads, target_length, value_dim)`, of the
        dtype of `value`.

    Raises:
        ValueError: If `block_length` is not positive, if the tensors differ
            in batch or heads, or if there is dropout and no seed.
        LookupError: If a gradient of a gradient is asked for.

    Reference:
        [Milakov and Gimelshein, 2018](https://arxiv.org/abs/1805.02867),
        algorithm 3
        [Dao et al., 2022](https://arxiv.org/abs/2205.14135), algorithms 2, 4
    """
    if block_length is None:
        block_length = _BLOCK_LENGTH
    if batched is None:
        batched = target_platform.target_platform() == "GPU"
    # As tensors of this very graph: what the gradient takes from outside of a
    # condition is lost where a function is around it.
    query, key, value = map(tf.identity, (query, key, value))
    _check(query, key, value, dropout, seed, block_length)
    seed = None if seed is None else tf.identity(seed)
    blocks = AttentionBlocks(
        batch_size=_size(query, 0),
        num_heads=_size(query, 1),
        queries=Cut.of(query, 2, block_length),
        keys=Cut.of(key, 2, block_length),
        batched=batched,
    )
    passes = BlockPasses(blocks, BlockMasks(blocks, **masks), dropout, seed)
    # Half precision neither sums nor exponentiates well.
    wide = wide_dtype(query.dtype, value.dtype)
    # Scaling the query touches fewer numbers than scaling the logits.
    scale = 1.0 / math.sqrt(query.shape[-1])

    def split(query, key, value):
        return (
            blocks.split(tf.cast(query, wide) * scale, blocks.queries),
            blocks.split(tf.cast(key, wide), blocks.keys),
            blocks.split(tf.cast(value, wide), blocks.keys),
        )

    @tf.custom_gradient
    def attend_in_blocks(*tensors):
        # Without gradients, or eager execution would keep all blocks.
        results = passes.forward(*split(*map(tf.stop_gradient, tensors)))

        def backward(upstream):
            (upstream,) = only_first(
                [upstream],
                tensors,
                "attention in blocks has no second gradients; "
                "`blockwise=False` has.",
            )
            upstream = blocks.split(tf.cast(upstream, wide), blocks.queries)
            gradients = passes.backward(*split(*tensors), *results, upstream)
            cuts = (blocks.queries, blocks.keys, blocks.keys)
            factors = (scale, 1.0, 1.0)
            return [
                tf.cast(factor * blocks.join(x, cut), like.dtype)
                for x, cut, factor, like in zip(
                    gradients, cuts, factors, tensors, strict=True
                )
            ]

        outputs = blocks.join(results[0], blocks.queries)
        return tf.cast(outputs, value.dtype), backward

    return attend_in_blocks(query, key, value)


def _check(query, key, value, dropout, seed, block_length):
    check(
        block_length > 0,
        "`block_length` must be positive.",
        block_length=block_length,
    )
    check(
        query.shape[:2].is_compatible_with(key.shape[:2])
        and query.shape[:2].is_compatible_with(value.shape[:2]),
        "`query`, `key` and `value` must have the same batch and heads.",
        query=tuple(query.shape),
        key=tuple(key.shape),
        value=tuple(value.shape),
    )
    check(
        not dropout or seed is not None,
        "`seed` must be given if there is `dropout`.",
        dropout=dropout,
        seed=seed,
    )


def _size(tensor, axis):
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size

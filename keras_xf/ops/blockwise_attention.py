"""Dense attention in memory linear in length (Dao et al., 2022).

The logits never stand in memory as a whole: for a block of queries they are
made block of keys by block of keys, with the running maximum and sum of
Milakov and Gimelshein (2018), and made again for the gradients.
"""

import dataclasses
import math

import tensorflow as tf

from keras_xf.ops import stateless_random
from keras_xf.ops.attention_blocks import AttentionBlocks
from keras_xf.ops.attention_blocks import Cut
from keras_xf.ops.block_masks import LEAST_MAXIMUM
from keras_xf.ops.block_masks import BlockMasks

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
    a padded row. Gradients of gradients are not supported, and raise.

    Args:
        query: Float tensor `(batch, num_heads, target_length, key_dim)`.
        key: Float tensor `(batch, num_heads, source_length, key_dim)`.
        value: Float tensor `(batch, num_heads, source_length, value_dim)`.
        dropout: Fraction of the attention weights that is dropped.
        seed: Int32 tensor `(2,)`, the seed of the dropout. What is dropped
            depends on `block_length` and `batched`, too.
        block_length: Queries, and keys, of a block at most; None for 512.
        batched: Whether all heads of all rows go through the same block at
            once, which takes batch and heads times the memory of one block
            and is what keeps a GPU busy. By default where there is a GPU.
        **masks: `padding_mask`, `attention_mask`, `causal` and
            `query_positions`, as there.

    Returns:
        Float tensor `(batch, num_heads, target_length, value_dim)`, of the
        dtype of `value`.

    Raises:
        ValueError: If `block_length` is not positive.
        LookupError: If a gradient of a gradient is asked for.

    Reference:
        [Milakov and Gimelshein, 2018](https://arxiv.org/abs/1805.02867),
        algorithm 3
        [Dao et al., 2022](https://arxiv.org/abs/2205.14135), algorithms 2, 4
    """
    if block_length is None:
        block_length = _BLOCK_LENGTH
    bl = (block_length,) * 2 if isinstance(block_length, int) else block_length
    if batched is None:
        batched = bool(tf.config.list_physical_devices("GPU"))
    query, key, value = (tf.convert_to_tensor(x) for x in (query, key, value))
    blocks = AttentionBlocks(
        batch_size=_size(query, 0),
        num_heads=_size(query, 1),
        queries=Cut.of(query, 2, bl[0]),
        keys=Cut.of(key, 2, bl[1]),
        batched=batched,
    )
    passes = _Passes(blocks, BlockMasks(blocks, **masks), dropout, seed)
    # Half precision neither sums nor exponentiates well.
    wide = tf.float64 if value.dtype == tf.float64 else tf.float32
    # Scaling the query touches fewer numbers than scaling the logits.
    scale = 1.0 / math.sqrt(query.shape[-1])

    @tf.custom_gradient
    def attend_in_blocks(query, key, value):
        tensors = (
            blocks.split(tf.cast(query, wide) * scale, blocks.queries),
            blocks.split(tf.cast(key, wide), blocks.keys),
            blocks.split(tf.cast(value, wide), blocks.keys),
        )
        results = passes.forward(*tensors)

        def backward(upstream):
            upstream = blocks.split(tf.cast(upstream, wide), blocks.queries)
            gradients = passes.backward(*tensors, *results, upstream)
            cuts = (blocks.queries, blocks.keys, blocks.keys)
            factors = (scale, 1.0, 1.0)
            return [
                tf.raw_ops.PreventGradient(
                    input=tf.cast(factor * blocks.join(x, cut), like.dtype),
                    message="It is that of blockwise attention.",
                )
                for x, cut, factor, like in zip(
                    gradients, cuts, factors, (query, key, value), strict=True
                )
            ]

        outputs = blocks.join(results[0], blocks.queries)
        return tf.cast(outputs, value.dtype), backward

    return attend_in_blocks(query, key, value)


@dataclasses.dataclass(frozen=True)
class _Passes:
    """The passes over the blocks, forward and backward.

    Logits lie in memory keys first: then no product has a transposed left
    factor, with which Eigen, and so TensorFlow and XLA on a CPU, multiplies
    half as fast.

    The maximum of a query's logits and the sum of their exponentials are kept
    apart: joined, a large maximum would round the sum away.
    """

    blocks: AttentionBlocks
    masks: BlockMasks
    dropout: float
    seed: object

    def forward(self, query, key, value):
        """Outputs, maxima and sums, in blocks of queries."""
        blocks, masks = self.blocks, self.masks
        queries, keys = blocks.queries, blocks.keys
        sizes = (value.shape[-1], 1, 1)

        def attend_block(place, *arrays):
            row, query_block = place // queries.number, place % queries.number
            num_full, num_seen = masks.keys_of(row, query_block)

            def see(masked):
                def step(key_block, *state):
                    pair = (row, query_block, key_block)
                    other = row * keys.number + key_block
                    tensors = (query[place], key[other], value[other])
                    return self._see(pair, tensors, state, masked)

                return step

            mixed, total, maximum = (
                tf.zeros((*blocks.lead, size, queries.block), query.dtype)
                for size in sizes
            )
            state = (mixed, total, maximum + LEAST_MAXIMUM)
            state = _loop(0, num_full, see(masked=False), state)
            if not masks.is_empty:
                state = _loop(num_full, num_seen, see(masked=True), state)
            mixed, total, maximum = state
            # Queries that see nothing give zeros.
            total = tf.where(total > 0, total, tf.ones_like(total))
            results = (mixed / (total * (1 - self.dropout)), total, maximum)
            return [
                array.write(place, tf.linalg.matrix_transpose(x))
                for array, x in zip(arrays, results, strict=True)
            ]

        number = blocks.num_rows * queries.number
        arrays = self._arrays(number, queries, sizes, query.dtype)
        arrays = _loop(0, number, attend_block, arrays)
        return [array.stack() for array in arrays]

    def backward(self, query, key, value, outputs, total, maximum, upstream):
        """Gradients of the three tensors, in blocks."""
        blocks, masks = self.blocks, self.masks
        queries, keys = blocks.queries, blocks.keys
        # What the weights would be divided by, upstream is divided by.
        change = tf.reduce_sum(upstream * outputs, axis=-1, keepdims=True)
        change /= total
        upstream /= total * (1 - self.dropout)

        def attend_block(place, query_gradient, *arrays):
            row, key_block = place // keys.number, place % keys.number
            first_seeing, first_full = masks.queries_of(row, key_block)

            def be_seen(masked):
                def step(query_block, query_gradient, *state):
                    pair = (row, query_block, key_block)
                    other = row * queries.number + query_block
                    tensors = (query[other], key[place], value[place])
                    given = (x[other] for x in (upstream, change, maximum))
                    part, *state = self._be_seen(
                        pair, tensors, given, state, masked
                    )
                    query_gradient = tf.tensor_scatter_nd_add(
                        query_gradient, [[other]], part[None]
                    )
                    return query_gradient, *state

                return step

            state = (
                query_gradient,
                tf.zeros_like(key[place]),
                tf.zeros_like(value[place]),
            )
            if not masks.is_empty:
                state = _loop(first_seeing, first_full, be_seen(True), state)
            state = _loop(first_full, queries.number, be_seen(False), state)
            query_gradient, *state = state
            return query_gradient, *(
                array.write(place, x)
                for array, x in zip(arrays, state, strict=True)
            )

        number = blocks.num_rows * keys.number
        sizes = (key.shape[-1], value.shape[-1])
        query_gradient, *arrays = _loop(
            0,
            number,
            attend_block,
            (
                tf.linalg.matrix_transpose(tf.zeros_like(query)),
                *self._arrays(number, keys, sizes, query.dtype),
            ),
        )
        return (
            tf.linalg.matrix_transpose(query_gradient),
            *(array.stack() for array in arrays),
        )

    def _see(self, pair, tensors, state, masked):
        """Adds what a block of queries takes from a block of keys."""
        query, key, value = tensors
        mixed, total, maximum = state
        logits = tf.matmul(key, query, transpose_b=True)
        if masked:
            logits = self.masks.hide(logits, *pair)
        larger = tf.maximum(
            maximum, tf.reduce_max(logits, axis=-2, keepdims=True)
        )
        weights = tf.exp(logits - larger)
        shrink = tf.exp(maximum - larger)
        total = total * shrink + tf.reduce_sum(weights, axis=-2, keepdims=True)
        if self.dropout:
            weights = self._drop(weights, self._kept(pair))
        value = tf.linalg.matrix_transpose(value)
        return mixed * shrink + tf.matmul(value, weights), total, larger

    def _be_seen(self, pair, tensors, given, state, masked):
        """Gradients that a pair of blocks contributes to.

        Returns:
            What is added to that of the block of queries, transposed, and
            the gradients of the block of keys and values so far.
        """
        query, key, value = tensors
        upstream, change, maximum = given
        key_gradient, value_gradient = state
        logits = self._product(key, query, maximum)
        if masked:
            logits = self.masks.hide(logits, *pair)
        weights = tf.exp(logits)
        if self.dropout:
            kept = self._kept(pair)
            gradient = tf.matmul(value, upstream, transpose_b=True)
            gradient = self._drop(gradient, kept)
            gradient -= tf.linalg.matrix_transpose(change)
            gradient *= weights
            weights = self._drop(weights, kept)
        else:
            gradient = weights * self._product(value, upstream, change)
        return (
            tf.matmul(tf.linalg.matrix_transpose(key), gradient),
            key_gradient + tf.matmul(gradient, query),
            value_gradient + tf.matmul(weights, upstream),
        )

    def _product(self, keys, queries, less):
        """`keys queries^T - less^T`."""
        if self.blocks.batched:
            less = tf.linalg.matrix_transpose(less)
            return tf.matmul(keys, queries, transpose_b=True) - less
        # One more column of the factors costs less than one more pass over
        # the product.
        keys = tf.concat([keys, tf.ones_like(keys[..., :1])], axis=-1)
        queries = tf.concat([queries, -less], axis=-1)
        return tf.matmul(keys, queries, transpose_b=True)

    def _kept(self, pair):
        """What dropout keeps, by integers alone the same each time."""
        row, query_block, key_block = pair
        queries, keys = self.blocks.queries, self.blocks.keys
        number = row * queries.number + query_block
        number = number * keys.number + key_block
        seed = stateless_random.fold_in(self.seed, number)
        shape = (*self.blocks.lead, keys.block, queries.block)
        return stateless_random.keep(seed, shape, self.dropout)

    def _drop(self, x, kept):
        return tf.where(kept, x, tf.zeros_like(x))

    def _arrays(self, number, cut, dims, dtype):
        lead = tf.TensorShape(
            [x if isinstance(x, int) else None for x in self.blocks.lead]
        )
        return [
            tf.TensorArray(dtype, number, element_shape=lead + [cut.block, dim])
            for dim in dims
        ]


def _loop(start, end, step, state):
    """`state = step(index, *state)` for each index from `start` to `end`."""
    _, *state = tf.while_loop(
        lambda index, *_: index < end,
        lambda index, *state: (index + 1, *step(index, *state)),
        (start, *state),
    )
    return state


def _size(tensor, axis):
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size

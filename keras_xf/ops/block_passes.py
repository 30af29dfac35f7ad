"""The passes of blockwise attention over its blocks, forward and backward."""

import dataclasses

import tensorflow as tf

from keras_xf.ops import stateless_random
from keras_xf.ops.attention_blocks import AttentionBlocks
from keras_xf.ops.block_masks import LEAST_MAXIMUM
from keras_xf.ops.block_masks import BlockMasks
from keras_xf.ops.tensor_array import tensor_array


@dataclasses.dataclass(frozen=True)
class BlockPasses:
    """The passes over the blocks, forward and backward.

    Logits lie in memory keys first: then no product has a transposed left
    factor, with which Eigen, and so TensorFlow and XLA on a CPU, multiplies
    half as fast.

    The maximum of a query's logits and the sum of their exponentials are kept
    apart: joined, a large maximum would round the sum away.

    Attributes:
        blocks: How queries and keys are cut.
        masks: What is seen.
        dropout: Fraction of the attention weights that is dropped.
        seed: Int32 tensor `(2,)`, the seed of the dropout, None if there is
            none.
    """

    blocks: AttentionBlocks
    masks: BlockMasks
    dropout: float
    seed: object

    def forward(self, query, key, value):
        """Attends to the keys.

        Args:
            query: Float tensor `(number, *lead, block, key_dim)`, scaled, as
                `AttentionBlocks.split` cuts it.
            key: Float tensor, likewise cut.
            value: Float tensor, likewise cut.

        Returns:
            Outputs like `query` but `value_dim` wide, and the sums and maxima
            of each query, one wide.
        """
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
            state = self._loop(0, num_full, see(masked=False), state)
            if not masks.is_empty:
                state = self._loop(num_full, num_seen, see(masked=True), state)
            mixed, total, maximum = state
            # Queries that see nothing give zeros.
            total = tf.where(total > 0, total, tf.ones_like(total))
            results = (mixed / (total * (1 - self.dropout)), total, maximum)
            return [
                array.write(place, tf.linalg.matrix_transpose(x))
                for array, x in zip(arrays, results, strict=True)
            ]

        number = blocks.num_rows * queries.number
        arrays = self._arrays(number, queries, sizes, query)
        arrays = self._loop(0, number, attend_block, arrays)
        return [array.stack() for array in arrays]

    def backward(self, query, key, value, outputs, total, maximum, upstream):
        """Computes the gradients.

        Args:
            query: As in `forward`.
            key: As in `forward`.
            value: As in `forward`.
            outputs: What `forward` returned.
            total: What `forward` returned.
            maximum: What `forward` returned.
            upstream: Float tensor like `outputs`, the gradient of these.

        Returns:
            Tensors like `query`, `key` and `value`.
        """
        blocks, masks = self.blocks, self.masks
        queries, keys = blocks.queries, blocks.keys
        # What the weights would be divided by, upstream is divided by.
        change = tf.reduce_sum(upstream * outputs, axis=-1, keepdims=True)
        change /= total
        upstream /= total * (1 - self.dropout)

        def attend_block(place, query_gradients, *arrays):
            row, key_block = place // keys.number, place % keys.number
            first_seeing, first_full = masks.queries_of(row, key_block)

            def be_seen(masked):
                def step(query_block, query_gradients, *state):
                    pair = (row, query_block, key_block)
                    other = row * queries.number + query_block
                    tensors = (query[other], key[place], value[place])
                    given = (x[other] for x in (upstream, change, maximum))
                    part, *state = self._be_seen(
                        pair, tensors, given, state, masked
                    )
                    part += query_gradients.read(other)
                    return query_gradients.write(other, part), *state

                return step

            state = (
                query_gradients,
                tf.zeros_like(key[place]),
                tf.zeros_like(value[place]),
            )
            if not masks.is_empty:
                state = self._loop(
                    first_seeing, first_full, be_seen(True), state
                )
            state = self._loop(
                first_full, queries.number, be_seen(False), state
            )
            query_gradients, *state = state
            return query_gradients, *(
                array.write(place, x)
                for array, x in zip(arrays, state, strict=True)
            )

        number = blocks.num_rows * keys.number
        sizes = (key.shape[-1], value.shape[-1])
        # A list: of one tensor TensorFlow would make a copy for each pair.
        query_gradients = tensor_array(
            blocks.num_rows * queries.number,
            (*blocks.lead, query.shape[-1], queries.block),
            query.dtype,
            after=upstream,
        )
        query_gradients, *arrays = self._loop(
            0,
            number,
            attend_block,
            (query_gradients, *self._arrays(number, keys, sizes, upstream)),
        )
        return (
            tf.linalg.matrix_transpose(query_gradients.stack()),
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

    def _loop(self, start, end, step, state):
        """`state = step(index, *state)` for each index."""
        _, *state = tf.while_loop(
            lambda index, *_: index < end,
            lambda index, *state: (index + 1, *step(index, *state)),
            (start, *state),
            # Blocks of all rows keep a device busy one by one, and several at
            # a time would take that much more memory.
            parallel_iterations=1 if self.blocks.batched else 10,
        )
        return state

    def _arrays(self, number, cut, dims, after):
        lead, block = self.blocks.lead, cut.block
        return [
            tensor_array(number, (*lead, block, dim), after.dtype, after)
            for dim in dims
        ]

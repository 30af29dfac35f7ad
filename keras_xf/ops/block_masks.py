"""Which keys the queries of a block see, and which blocks of keys at all."""

import tensorflow as tf

from keras_xf.ops.attention_blocks import AttentionBlocks
from keras_xf.ops.logits import MASKED_LOGIT

# Logits of what is masked out, and where the maxima of logits start: so far
# apart that the exponential of what is masked out is exactly zero where a
# query sees nothing at all, and so far down that no real logit is there.
LEAST_MAXIMUM = -5e8


class BlockMasks:
    """The masks of attention, block by block.

    Args:
        blocks: How queries and keys are cut.
        padding_mask: Boolean `(batch, source_length)` or None.
        attention_mask: Boolean `(batch, target_length, source_length)` or
            None.
        causal: Whether a query sees only keys at its own position and before.
        query_positions: Integers `(target_length,)` or `(batch,
            target_length)`, or None for those from 0.
    """

    def __init__(
        self,
        blocks: AttentionBlocks,
        *,
        padding_mask=None,
        attention_mask=None,
        causal: bool = False,
        query_positions=None,
    ):
        self._blocks = blocks
        last_keys = _last_keys(blocks, causal, query_positions)
        if padding_mask is not None:
            padding_mask = _pad_keys(blocks, padding_mask)
        if attention_mask is not None:
            attention_mask = _pairs_of_blocks(blocks, attention_mask)
        self._last_keys = _by_block(blocks, last_keys)
        self._padding_mask = _by_block(blocks, padding_mask)
        self._attention_mask = _by_block(blocks, attention_mask)
        self._num_full, self._num_seen = _count_keys(
            blocks, last_keys, padding_mask, attention_mask
        )
        self._first_full, self._first_seeing = _find_queries(
            blocks, self._num_full, self._num_seen
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is masked anywhere."""
        arrays = (self._last_keys, self._padding_mask, self._attention_mask)
        return all(array is None for array in arrays)

    def keys_of(self, row, query_block):
        """Which blocks of keys a block of queries sees.

        Returns:
            Two scalars: the blocks before the first are seen whole by each of
            the queries, those from there to the second may be seen in part,
            and the rest not at all.
        """
        place = self._batch_row(row) * self._blocks.queries.number + query_block
        return self._num_full[place], self._num_seen[place]

    def queries_of(self, row, key_block):
        """Which blocks of queries see a block of keys.

        Returns:
            Two scalars: the blocks of queries before the first do not see it,
            those from there to the second may see it in part, and the rest
            see all of it.
        """
        place = self._batch_row(row) * self._blocks.keys.number + key_block
        return self._first_seeing[place], self._first_full[place]

    def hide(self, logits, row, query_block, key_block):
        """Replaces the logits of what is masked out.

        Args:
            logits: Float tensor `(*lead, key_block, query_block)`.
            row: Which row, of those of `AttentionBlocks`.
            query_block: Which block of queries.
            key_block: Which block of keys.

        Returns:
            Tensor like `logits`.
        """
        queries, keys = self._blocks.queries, self._blocks.keys
        row = self._batch_row(row)
        masks = []
        if self._last_keys is not None:
            places = key_block * keys.block + tf.range(keys.block)[:, None]
            last = self._last_keys[row * queries.number + query_block]
            masks.append(places <= last)
        if self._padding_mask is not None:
            masks.append(self._padding_mask[row * keys.number + key_block])
        if self._attention_mask is not None:
            place = row * queries.number + query_block
            place = place * keys.number + key_block
            masks.append(self._attention_mask[place])
        mask = masks[0]
        for other in masks[1:]:
            mask = tf.logical_and(mask, other)
        masked = tf.constant(MASKED_LOGIT, logits.dtype)
        return tf.where(mask, logits, masked)

    def _batch_row(self, row):
        return row // self._blocks.num_heads


def _last_keys(blocks, causal, query_positions):
    """The last key that a query's position allows, `(batch, blocks, 1, block)`.

    None if there is no such limit.
    """
    queries, keys = blocks.queries, blocks.keys
    if causal:
        if query_positions is None:
            query_positions = tf.range(queries.length)
        last = tf.minimum(tf.cast(query_positions, "int32"), keys.length - 1)
    elif isinstance(keys.padding, int) and keys.padding == 0:
        return None
    else:
        # Keys that fill up the last block come after those that are there.
        last = tf.fill([queries.length], keys.length - 1)
    last = tf.broadcast_to(last, (blocks.batch_size, queries.length))
    # Queries that fill up the last block see what the last one sees.
    rest = tf.repeat(last[:, -1:], queries.padding, axis=1)
    shape = (blocks.batch_size, queries.number, 1, queries.block)
    return tf.reshape(tf.concat([last, rest], axis=1), shape)


def _pad_keys(blocks, mask):
    """`(batch, source_length)` to `(batch, blocks, block, 1)`."""
    keys = blocks.keys
    mask = tf.cast(mask, "bool")
    mask = tf.broadcast_to(mask, (blocks.batch_size, keys.length))
    mask = tf.pad(mask, [[0, 0], [0, keys.padding]])
    return tf.reshape(mask, (blocks.batch_size, keys.number, keys.block, 1))


def _pairs_of_blocks(blocks, mask):
    """`(batch, target, source)` to `(batch, pairs, key block, query block)`."""
    queries, keys = blocks.queries, blocks.keys
    mask = tf.cast(mask, "bool")
    shape = (blocks.batch_size, queries.length, keys.length)
    mask = tf.broadcast_to(mask, shape)
    mask = tf.pad(mask, [[0, 0], [0, queries.padding], [0, keys.padding]])
    mask = tf.reshape(
        mask, (-1, queries.number, queries.block, keys.number, keys.block)
    )
    mask = tf.transpose(mask, (0, 1, 3, 4, 2))
    shape = (blocks.batch_size, -1, keys.block, queries.block)
    return tf.reshape(mask, shape)


def _by_block(blocks, x):
    """`(batch, number, …)` so that a block is a place of the first axis."""
    if x is None:
        return None
    if blocks.batched:
        # The same for all heads.
        return tf.transpose(x, (1, 0, 2, 3))[:, :, None]
    return tf.reshape(x, (-1, x.shape[2], x.shape[3]))


def _count_keys(blocks, last_keys, padding_mask, attention_mask):
    """What `keys_of` tells, `(row of the batch, block of queries)` flat."""
    keys = blocks.keys
    shape = (blocks.batch_size, blocks.queries.number)
    full = seen = tf.fill(shape, keys.length)
    if last_keys is not None:
        full = tf.reduce_min(last_keys, axis=(2, 3)) + 1
        seen = tf.reduce_max(last_keys, axis=(2, 3)) + 1
    if padding_mask is not None:
        mask = tf.reshape(padding_mask, (blocks.batch_size, -1))
        places = tf.range(keys.number * keys.block)
        masked = tf.where(mask, keys.length, places)
        full = tf.minimum(full, tf.reduce_min(masked, axis=1)[:, None])
        real = tf.where(mask, places + 1, 0)
        seen = tf.minimum(seen, tf.reduce_max(real, axis=1)[:, None])
    if attention_mask is not None:
        full = tf.zeros_like(full)
    full = tf.maximum(full, 0) // keys.block
    seen = (tf.maximum(seen, 0) + keys.block - 1) // keys.block
    if blocks.batched:
        full = tf.reduce_min(full, axis=0, keepdims=True)
        seen = tf.reduce_max(seen, axis=0, keepdims=True)
    return tf.reshape(full, (-1,)), tf.reshape(seen, (-1,))


def _find_queries(blocks, num_full, num_seen):
    """What `queries_of` tells, `(row of the batch, block of keys)` flat."""
    number = blocks.queries.number
    num_full = tf.reshape(num_full, (-1, number, 1))
    num_seen = tf.reshape(num_seen, (-1, number, 1))
    key_blocks = tf.range(blocks.keys.number)
    query_blocks = tf.range(number)[:, None]
    seeing = tf.where(key_blocks < num_seen, query_blocks, number)
    # Positions need not rise from query to query: what comes after the last
    # block that does not see all is certain to do so.
    partial = tf.where(key_blocks < num_full, 0, query_blocks + 1)
    return (
        tf.reshape(tf.reduce_max(partial, axis=1), (-1,)),
        tf.reshape(tf.reduce_min(seeing, axis=1), (-1,)),
    )

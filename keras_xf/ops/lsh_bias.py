"""What the variants of LSH attention add to the logits."""

import tensorflow as tf

from keras_xf.ops import chunks
from keras_xf.ops.chunk_windows import ChunkWindows


class LSHBias:
    """Hides other buckets, and counts what is seen several times.

    Args:
        buckets: int32 `(batch, num_heads, num_hashes, length)`.
        orders: The positions sorted by bucket, alike.
        windows: What is seen from where.
        padding_mask: Boolean `(batch, length)`, or None.
        deduplicate: Whether to subtract the logarithm of the number of times
            that a query sees a key.
        across_buckets: Whether other buckets are seen.
        dtype: Dtype of what is added.
    """

    def __init__(
        self,
        buckets,
        orders,
        windows: ChunkWindows,
        *,
        padding_mask=None,
        deduplicate: bool,
        across_buckets: bool,
        dtype="float32",
    ):
        size = windows.chunk_length
        length = buckets.shape[3] or tf.shape(buckets)[3]
        self.buckets, self.num_hashes = buckets, buckets.shape[2]
        self.chunks = tf.argsort(orders) // size
        self.num_chunks = -(-length // size)
        self.length = length
        self.windows = windows.clip(self.num_chunks)
        self.deduplicate = deduplicate
        self.across_buckets = across_buckets
        self.dtype = dtype
        self.num_real = tf.reshape(self.num_chunks, (1,))
        if padding_mask is not None:
            num_real = tf.math.count_nonzero(padding_mask, 1, dtype=tf.int32)
            self.num_real = -(-num_real // size)

    def __call__(self, number, query_positions, key_positions):
        """What to add to the logits of one round.

        Args:
            number: The round's number.
            query_positions: int32 `(batch, num_heads, num_chunks,
                chunk_length)`.
            key_positions: int32 `(batch, num_heads, num_chunks, keys)`.

        Returns:
            Tensor `(batch, num_heads, num_chunks, chunk_length, keys)`.
        """
        bias = tf.zeros((), self.dtype)
        if self.deduplicate:
            count = self._count(query_positions, key_positions)
            bias -= tf.math.log(tf.cast(tf.maximum(count, 1), self.dtype))
        if not self.across_buckets:
            chunk, _ = self.windows.seen(
                number, self.num_chunks, self.num_hashes, self.num_real
            )
            same = self._pairs(
                self.buckets[:, :, number],
                self.buckets[:, :, number],
                query_positions,
                key_positions,
                tf.equal,
            )
            # Buckets of another round are other buckets.
            here = tf.repeat(
                chunk // self.num_chunks == number,
                self.windows.chunk_length,
                axis=-1,
            )
            same &= here[:, None, :, None]
            bias += tf.cast(
                tf.where(same, 0.0, chunks.MASKED_LOGIT), self.dtype
            )
        return bias

    def _count(self, query_positions, key_positions):
        """How often each query sees each key, in all rounds."""
        counts = 0
        for own in range(self.num_hashes):
            others = [own]
            if self.windows.wrap == "rounds" and self.across_buckets:
                others = range(self.num_hashes)
            for other in others:
                counts += self._pairs(
                    self.chunks[:, :, own],
                    self.chunks[:, :, other] + (other - own) * self.num_chunks,
                    query_positions,
                    key_positions,
                    self._copies,
                ) * self._share_bucket(own, query_positions, key_positions)
        return counts

    def _copies(self, query_chunk, key_chunk):
        windows = self.windows
        slot = key_chunk - query_chunk + windows.chunks_before
        if windows.wrap == "rounds":
            ring = self.num_hashes * self.num_chunks
            return (windows.size - 1 - slot % ring) // ring + 1
        if windows.wrap == "row":
            slot %= tf.maximum(self.num_real, 1)[:, None, None, None, None]
        seen = (slot >= 0) & (slot < windows.size)
        return tf.cast(seen, tf.int32)

    def _share_bucket(self, number, query_positions, key_positions):
        if self.across_buckets:
            return 1
        buckets = self.buckets[:, :, number]
        same = self._pairs(
            buckets, buckets, query_positions, key_positions, tf.equal
        )
        return tf.cast(same, tf.int32)

    def _pairs(self, queries, keys, query_positions, key_positions, function):
        def at(x, positions):
            return tf.gather(
                x, tf.minimum(positions, self.length - 1), batch_dims=2
            )

        return function(
            at(queries, query_positions)[..., :, None],
            at(keys, key_positions)[..., None, :],
        )

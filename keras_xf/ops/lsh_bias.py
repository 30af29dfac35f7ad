"""What the variants of LSH attention add to the logits."""

import tensorflow as tf

from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.logits import MASKED_LOGIT
from keras_xf.ops.permutations import inverse_permutations


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
        num_heads, self.num_hashes = buckets.shape[1:3]
        shape = (-1, self.num_hashes, length)
        self.buckets = tf.reshape(buckets, shape)
        self.chunks = tf.reshape(inverse_permutations(orders) // size, shape)
        self.num_chunks = -(-length // size)
        self.length = length
        self.windows = windows.clip(self.num_chunks)
        self.deduplicate = deduplicate
        self.across_buckets = across_buckets
        self.dtype = dtype
        self.num_real = None
        if padding_mask is not None:
            num_real = tf.math.count_nonzero(padding_mask, 1, dtype=tf.int32)
            self.num_real = tf.repeat(-(-num_real // size), num_heads)

    def __call__(self, number, rows, own, query_positions, key_positions):
        """What to add to the logits of one round.

        Args:
            number: The round's number.
            rows: int32 `(rows,)`, the numbers of rows, counted through all
                heads.
            own: int32 `(chunks,)`, the numbers of chunks.
            query_positions: int32 `(rows, chunks, chunk_length)`.
            key_positions: int32 `(rows, chunks, keys)`.

        Returns:
            Tensor `(rows, chunks, chunk_length, keys)`.
        """
        some = _Rows(self, rows, query_positions, key_positions)
        bias = tf.zeros((), self.dtype)
        if self.deduplicate:
            count = tf.maximum(some.count(), 1)
            bias -= tf.math.log(tf.cast(count, self.dtype))
        if not self.across_buckets:
            same = some.share_bucket(number) & some.is_round(number, own)
            bias += tf.cast(tf.where(same, 0.0, MASKED_LOGIT), self.dtype)
        return bias


class _Rows:
    """Pairs of queries and keys in some chunks of some rows."""

    def __init__(self, bias, rows, query_positions, key_positions):
        self._bias, self._windows = bias, bias.windows
        self._buckets = tf.gather(bias.buckets, rows)
        self._chunks = tf.gather(bias.chunks, rows)
        self._num_real = tf.reshape(bias.num_chunks, (1,))
        if bias.num_real is not None:
            self._num_real = tf.gather(bias.num_real, rows)
        self._queries = tf.minimum(query_positions, bias.length - 1)
        self._keys = tf.minimum(key_positions, bias.length - 1)

    def count(self):
        """How often each query sees each key, in all rounds."""
        bias, counts = self._bias, 0
        for own in range(bias.num_hashes):
            others = [own]
            if self._windows.wrap == "rounds" and bias.across_buckets:
                others = range(bias.num_hashes)
            for other in others:
                copies = self._copies(
                    self._of_queries(self._chunks, own),
                    self._of_keys(self._chunks, other)
                    + (other - own) * bias.num_chunks,
                )
                if not bias.across_buckets:
                    copies *= tf.cast(self.share_bucket(own), tf.int32)
                counts += copies
        return counts

    def share_bucket(self, number):
        """Whether both are in one bucket in a round."""
        queries = self._of_queries(self._buckets, number)
        return queries == self._of_keys(self._buckets, number)

    def is_round(self, number, own):
        """Whether what is seen is of that round, too."""
        bias = self._bias
        # Buckets of another round are other buckets.
        chunk, _ = self._windows.seen(
            number, bias.num_chunks, bias.num_hashes, self._num_real
        )
        last = tf.minimum(own, bias.num_chunks - 1)
        chunk = tf.gather(chunk, last, axis=1)
        here = chunk // bias.num_chunks == number
        here = tf.repeat(here, self._windows.chunk_length, axis=-1)
        return here[:, :, None]

    def _copies(self, query_chunk, key_chunk):
        windows, bias = self._windows, self._bias
        ring = bias.num_hashes * bias.num_chunks
        if windows.wrap == "rounds":
            offsets = windows.offsets(ring)
            distance = tf.math.floormod(key_chunk - query_chunk, ring)
            return sum(
                tf.cast(distance == offset, tf.int32)
                for offset in tf.unstack(tf.math.floormod(offsets, ring))
            )
        slot = key_chunk - query_chunk + windows.chunks_before
        if windows.wrap == "row":
            slot %= tf.maximum(self._num_real, 1)[:, None, None, None]
        seen = (slot >= 0) & (slot < windows.size)
        return tf.cast(seen, tf.int32)

    def _of_queries(self, x, number):
        x = tf.gather(x, number, axis=1)
        return tf.gather(x, self._queries, batch_dims=1)[..., :, None]

    def _of_keys(self, x, number):
        x = tf.gather(x, number, axis=1)
        return tf.gather(x, self._keys, batch_dims=1)[..., None, :]

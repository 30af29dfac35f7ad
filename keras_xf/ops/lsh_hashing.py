"""Angular locality-sensitive hashing (Kitaev et al., 2020, section 2).

Vectors that point in about the same direction land in the same bucket: the
bucket is the nearest of some random directions and their opposites.
"""

import tensorflow as tf
from keras import ops

from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_lots import ChunkLots
from keras_xf.ops.chunk_lots import map_lots

# Above this many buckets, hashing to each of them would cost more than
# attention does: two smaller hashes are combined.
MAX_SINGLE_FACTOR = 128


def bucket_factors(length, chunk_length: int) -> tuple:
    """Chooses how many buckets a sequence is hashed into.

    Twice as many as there are chunks, so that a bucket fills half a chunk
    (section 2 of the paper); above 128, as a product of two even factors of
    about its square root, for then a position meets as many directions as half
    their sum, not half the number of buckets.

    Args:
        length: Number of positions, an integer or a scalar tensor.
        chunk_length: Number of positions of a chunk.

    Returns:
        A tuple of one factor or two. Of a tensor always two, scalar tensors,
        where the second is 0 if there is but one.
    """
    if isinstance(length, int):
        num_buckets = 2 * max(1, length // chunk_length)
        if num_buckets <= MAX_SINGLE_FACTOR:
            return (num_buckets,)
        first = 2 ** ((num_buckets - 1).bit_length() + 1 >> 1)
        return first, num_buckets // (2 * first) * 2
    num_buckets = 2 * ops.maximum(1, length // chunk_length)
    # The smallest power of two whose square is no less: 1 + 1 + 2 + 4 + …
    powers = 2 ** ops.arange(15, dtype="int32")
    first = 1 + ops.sum(ops.where(powers * powers < num_buckets, powers, 0))
    single = num_buckets <= MAX_SINGLE_FACTOR
    second = num_buckets // (2 * first) * 2
    return ops.where(single, num_buckets, first), ops.where(single, 0, second)


def draw_rotations(seed, *, num_heads: int, key_dim: int, num_hashes, factors):
    """Draws the random directions that vectors are hashed by.

    Each round has draws of its own: the first rounds, and in each the first
    directions, are the same however many there are.

    Args:
        seed: int32 tensor `(2,)`.
        num_heads: Number of heads; each has its own directions.
        key_dim: Width of the vectors.
        num_hashes: Number of rounds.
        factors: As `bucket_factors` returns them, or any even integers.

    Returns:
        Float32 tensor `(num_heads, key_dim, num_hashes, directions)`, with
        half as many directions as the sum of the factors.
    """
    num_directions = sum(_halves(factors))
    rounds = [
        stateless_random.normal(
            stateless_random.fold_in(seed, number),
            (num_directions, num_heads, key_dim),
        )
        for number in range(num_hashes)
    ]
    return ops.transpose(ops.stack(rounds), (2, 3, 0, 1))


def hash_vectors(vectors, rotations, factors, padding_mask=None):
    """Hashes vectors to buckets, in float32 whatever their dtype.

    Args:
        vectors: Float tensor `(batch, length, num_heads, key_dim)`.
        rotations: Float tensor `(num_heads, key_dim, num_hashes, directions)`.
        factors: The factors of the number of buckets, each hashed to by half
            as many directions of its own, in turn.
        padding_mask: Boolean `(batch, length)`, True where a vector is real.

    Returns:
        int32 tensor `(batch, num_heads, num_hashes, length)`: bucket `g1 + f1
        g2 + f1 f2 g3 + …` of the buckets `g` of the factors `f`. What is not
        real is in a bucket of its own, behind all others.
    """
    rotations = ops.stop_gradient(ops.cast(rotations, "float32"))
    num_hashes, num_directions = rotations.shape[2], ops.shape(rotations)[3]
    batch_size, length, num_heads, key_dim = ops.shape(vectors)
    flat = ops.stop_gradient(ops.reshape(vectors, (-1, key_dim)))
    # On a CPU, lots of positions of a head: the products with all directions of
    # all would take the memory of many layers. On a GPU they do: 768 MiB for
    # 65,536 positions, 8 heads and 8 rounds.
    lots = ChunkLots(num_heads, batch_size * length, num_hashes)

    def hash_lot(lot):
        heads = lots.row_numbers(lot)
        place = lots.first_chunk(lot) + tf.range(lots.chunks)
        place = tf.minimum(place, batch_size * length - 1) * num_heads
        some = tf.gather(flat, heads[:, None] + place)
        directions = ops.reshape(
            tf.gather(rotations, heads), (lots.rows, key_dim, -1)
        )
        rotated = ops.matmul(ops.cast(some, "float32"), directions)
        shape = (lots.rows, lots.chunks, num_hashes, num_directions)
        return [_hash(ops.reshape(rotated, shape), factors)]

    (buckets,) = map_lots(
        hash_lot,
        lots.number,
        [((lots.rows, lots.chunks, num_hashes), tf.int32)],
        after=flat,
    )
    buckets = ops.reshape(
        buckets,
        (lots.lots_of_rows * lots.rows, lots.lots_of_row * lots.chunks, -1),
    )
    buckets = ops.reshape(
        buckets[:num_heads, : batch_size * length],
        (num_heads, batch_size, length, num_hashes),
    )
    buckets = ops.transpose(buckets, (1, 0, 3, 2))
    if padding_mask is None:
        return buckets
    num_buckets = 1
    for factor in factors:
        num_buckets *= ops.maximum(factor, 1)
    real = ops.cast(padding_mask, "bool")[:, None, None, :]
    return ops.where(real, buckets, num_buckets)


def _hash(rotated, factors):
    """Buckets of what all directions of all factors make of vectors."""
    start, stride, buckets = 0, 1, 0
    for factor, half in zip(factors, _halves(factors), strict=True):
        bucket = _nearest(rotated[..., start : start + half])
        if not isinstance(factor, int):
            bucket = ops.where(factor > 0, bucket, 0)
        buckets += stride * bucket
        start += half
        stride *= factor
    return buckets


def _nearest(rotated):
    """Argmax over the last axis joined with its opposite; ties to the first.

    The joined tensor is never made.
    """
    num_directions = ops.shape(rotated)[-1]
    # Unlike Keras's, of nothing these are nothing.
    most = ops.maximum(
        tf.reduce_max(rotated, axis=-1, keepdims=True),
        -tf.reduce_min(rotated, axis=-1, keepdims=True),
    )
    number = ops.arange(num_directions, dtype="int32")
    opposite = ops.where(
        rotated == -most, number + num_directions, 2 * num_directions
    )
    nearest = ops.where(rotated == most, number, opposite)
    return tf.reduce_min(nearest, axis=-1)


def _halves(factors):
    # A factor that is a tensor may be 0: one direction, which is not used,
    # keeps the maximum over them defined.
    return [
        factor // 2 if isinstance(factor, int) else ops.maximum(factor // 2, 1)
        for factor in factors
    ]

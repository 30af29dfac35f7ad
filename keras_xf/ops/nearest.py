"""The nearest row of a codebook (van den Oord et al., 2017, equation 1).

Or one that is the more likely to be drawn, the nearer it is (Roy et al., 2018).
"""

import math

from keras import ops

from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_lots import map_lots
from keras_xf.ops.discrete import gumbel_noise
from keras_xf.ops.target_platform import target_platform

# Scores that are in memory at once. On a CPU they stay in its cache; a GPU
# wants more work at a time.
SCORES = {"CPU": 2**20, "GPU": 2**24}
# An XLA program on a CPU finds the place of the largest of many numbers one by
# one, but the largest itself in vectors: 65,536 rows of 1024 codes took 0.36 s
# with one `argmax`, 0.24 s with groups of 16, of which 0.17 s are the product.
GROUP = 16


def nearest_codes(vectors, codebook):
    """Finds the code that is nearest to each vector.

    The square of the vector is the same for all codes, so that the largest
    `x.e - e.e / 2` is the nearest. The mean of the codes is taken from both
    first: what all codes share would cost digits. Distances are never in memory
    for more than a block of vectors, and no gradient goes through.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        codebook: Float tensor `(parts, num_codes, dim)`.

    Returns:
        int32 tensor `(parts, number)`, computed in float32. Of codes that are
        equally near it is the first. Of a vector with NaN it is any code.
    """
    return _search(vectors, codebook)[0]


def draw_codes(vectors, codebook, seed, samples: int):
    """Draws codes by the softmax of the negative squares of their distances.

    It is hard expectation maximization's soft sister (Roy et al., 2018, section
    3): the mean of what is drawn stands for the vector.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        codebook: Float tensor `(parts, num_codes, dim)`.
        seed: A seed of `keras_xf.ops.stateless_random`.
        samples: Number of codes for each vector; one may be drawn twice.

    Returns:
        int32 tensor `(samples, parts, number)`.
    """
    return _search(vectors, codebook, seed, samples)


def _search(vectors, codebook, seed=None, samples=1):
    codes = ops.stop_gradient(ops.cast(codebook, "float32"))
    center = ops.mean(codes, axis=1, keepdims=True)
    codes = codes - center
    half_squares = 0.5 * ops.sum(codes * codes, axis=-1)[:, None]
    parts, num_codes, dim = codes.shape
    number = ops.shape(vectors)[1]
    # Nothing has no largest.
    is_empty = isinstance(number, int) and number == 0
    is_grouped = num_codes >= 4 * GROUP and not is_empty
    if is_grouped:
        missing = -num_codes % GROUP
        codes = ops.pad(codes, ((0, 0), (0, missing), (0, 0)))
        half_squares = ops.pad(
            half_squares,
            ((0, 0), (0, 0), (0, missing)),
            constant_values=math.inf,
        )
    columns = ops.transpose(codes, (0, 2, 1))
    vectors = ops.stop_gradient(vectors)
    size, blocks = _blocks(number, parts * codes.shape[1])
    vectors = ops.pad(vectors, ((0, 0), (0, blocks * size - number), (0, 0)))

    def search(block):
        some = vectors
        if not (isinstance(blocks, int) and blocks == 1):
            some = ops.slice(vectors, (0, block * size, 0), (parts, size, dim))
        centered = ops.cast(some, "float32") - center
        scores = ops.matmul(centered, columns) - half_squares
        find = _places if is_grouped else _argmax
        if seed is None:
            return [find(scores)[None]]
        # The largest sum of twice the scores, which are the logits but for
        # what all have in common, and Gumbel noise is a draw of the softmax.
        own = stateless_random.fold_in(seed, block)
        noises = (
            stateless_random.uniform(
                stateless_random.fold_in(own, sample), ops.shape(scores)
            )
            for sample in range(samples)
        )
        drawn = [find(2 * scores + gumbel_noise(noise)) for noise in noises]
        return [ops.stack(drawn)]

    like = [((samples, parts, size), "int32")]
    (found,) = map_lots(search, blocks, like, codes)
    found = ops.transpose(found, (1, 2, 0, 3))
    indices = ops.reshape(found, (samples, parts, blocks * size))
    # A NaN may have found a code that is none.
    return ops.minimum(indices[..., :number], num_codes - 1)


def _blocks(number, num_codes):
    """The size of a block, and how many there are."""
    size = max(SCORES[target_platform()] // num_codes // 8 * 8, 8)
    if isinstance(number, int):
        if number <= size:
            return number, 1
        return size, -(-number // size)
    return size, ops.maximum(-(-number // size), 1)


def _places(scores):
    """Of each row the place of the largest score, by groups."""
    parts, size, num_codes = scores.shape
    num_groups = num_codes // GROUP
    rows = ops.reshape(scores, (parts * size * num_groups, GROUP))
    groups = ops.reshape(scores, (parts * size, num_groups, GROUP))
    group = _argmax(ops.max(groups, axis=-1))
    first = ops.arange(parts * size, dtype="int32") * num_groups
    place = _argmax(ops.take(rows, first + group, axis=0))
    return ops.reshape(group * GROUP + place, (parts, size))


def _argmax(scores):
    return ops.cast(ops.argmax(scores, axis=-1), "int32")

"""k-means: where it begins, and Lloyd's algorithm.

It begins as k-means++ does (Arthur and Vassilvitskii, 2007, section 2.2,
https://dl.acm.org/doi/10.5555/1283383.1283494): of codes that begin at any
vectors two are in one cluster almost always, and Lloyd's algorithm does not
part them.
"""

import math

import tensorflow as tf
from keras import ops

from keras_xf.ops import stateless_random
from keras_xf.ops.nearest import nearest_codes
from keras_xf.ops.quantization import statistics

# What is left of a vector that rounding cannot tell from one that was drawn, of
# a square of 1 for the largest entry: it comes when all others are gone.
LEAST = 1e-20
# A vector is drawn by its row, then in the row: sums up to each of all vectors
# would take longer than the distances.
COLUMNS = 256


def spread_vectors(vectors, weights, seed, num_codes: int):
    """Draws vectors far from each other, as k-means++ does.

    Each is drawn by the square of its distance to the nearest of those before.
    Of several draws that one is taken which leaves the smallest sum of such
    squares, as the authors advise in the end; there are as many as in
    scikit-learn, `2 + log(num_codes)`.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        weights: `(number,)`, 0 for what must not be drawn; or None.
        seed: A seed of `keras_xf.ops.stateless_random`.
        num_codes: Number of vectors for each part. Where there are less they
            are repeated.

    Returns:
        Float32 tensor `(parts, num_codes, dim)`, and whether there was anything
        to draw. No vector is drawn again before all others are.
    """
    if tf.executing_eagerly():
        # Step by step in Python it would take several times as long.
        return _spread_in_a_graph(vectors, weights, seed, num_codes)
    vectors = ops.cast(ops.stop_gradient(vectors), "float32")
    parts, number, _ = ops.shape(vectors)
    if weights is None:
        weights = ops.ones_like(vectors[0, :, 0])
    # A row at least, for all of an empty batch to look at.
    missing = COLUMNS - number % COLUMNS
    vectors = ops.pad(vectors, ((0, 0), (0, missing), (0, 0)))
    weights = ops.pad(weights, ((0, missing),))
    potentials = _Potentials(vectors, weights)
    trials = 2 + int(math.log(num_codes))
    numbers = stateless_random.uniform(seed, (num_codes, parts, trials, 2))
    codes = tf.range(num_codes)

    def draw(code, left, places, found):
        drawn = _draw_places(left, tf.gather(numbers, code))
        lefts = potentials.leave(left, drawn)
        best = tf.argmin(tf.reduce_sum(lefts, axis=-1), axis=-1)
        place = tf.gather(drawn, best, batch_dims=1)
        # Where nothing is left in a part, there may be in another.
        is_found = tf.reduce_any(left > 0, axis=-1)
        is_here = tf.logical_and(is_found[:, None], codes == code)
        places = tf.where(is_here, place[:, None], places)
        left = tf.gather(lefts, best, batch_dims=1)
        return code + 1, left, places, found + tf.cast(is_found, tf.int32)

    left = tf.broadcast_to(weights, (parts, tf.shape(weights)[0]))
    first = _draw_places(left, numbers[0, :, :1])
    found = tf.cast(tf.reduce_any(left > 0, axis=-1), tf.int32)
    _, _, places, found = tf.while_loop(
        lambda code, left, *_: tf.logical_and(
            code < num_codes, tf.reduce_any(left > 0)
        ),
        draw,
        (
            tf.constant(1),
            potentials.leave(tf.fill(tf.shape(left), math.inf), first)[:, 0],
            tf.tile(first, (1, num_codes)),
            found,
        ),
    )
    again = codes % tf.maximum(found, 1)[:, None]
    places = tf.gather(places, again, batch_dims=1)
    return tf.gather(vectors, places, batch_dims=1), tf.reduce_any(found > 0)


# Traced once for all vectors of one shape: it has to know the number of parts.
_spread_in_a_graph = tf.function(spread_vectors, autograph=False)


def k_means(vectors, codes, iterations: int, weights=None):
    """Lloyd's algorithm; a code without vectors stays where it is.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        codes: `(parts, num_codes, dim)`, where it begins.
        iterations: Number of rounds.
        weights: `(number,)`; ones by default.

    Returns:
        Codes, and how many vectors each had in the last round.
    """
    counts = ops.zeros_like(codes[..., 0])
    for _ in range(iterations):
        indices = nearest_codes(vectors, codes)
        counts, sums = statistics(vectors, indices, codes.shape[1], weights)
        means = sums / ops.maximum(counts, 1e-12)[..., None]
        codes = ops.where(counts[..., None] > 0, means, codes)
    return codes, counts


class _Potentials:
    """Weighted squares of distances to the nearest of some vectors.

    They are relative to the largest entry of a part.

    Args:
        vectors: `(parts, number, dim)`.
        weights: `(number,)`.
    """

    def __init__(self, vectors, weights):
        is_real = weights[:, None] > 0
        # What all vectors share would cost digits.
        total = tf.maximum(tf.reduce_sum(weights), 1e-30)
        shared = tf.where(is_real, vectors * weights[:, None], 0.0)
        shared = tf.reduce_sum(shared, axis=1, keepdims=True) / total
        self._weights = weights
        rows = tf.where(is_real, vectors - shared, 0.0)
        # Squares of very large or small numbers would be none.
        largest = tf.reduce_max(tf.abs(rows), axis=(1, 2), keepdims=True)
        self._rows = rows / tf.where(largest > 0, largest, 1.0)
        self._columns = tf.transpose(self._rows, (0, 2, 1))
        self._squares = tf.reduce_sum(self._rows**2, axis=-1)

    def leave(self, before, places):
        """What would be left by each of some vectors more.

        Args:
            before: `(parts, number)`, what is left now.
            places: int32 `(parts, trials)`.

        Returns:
            `(parts, trials, number)`.
        """
        chosen = tf.gather(self._rows, places, batch_dims=1)
        squares = tf.reduce_sum(chosen**2, axis=-1, keepdims=True)
        products = tf.matmul(chosen, self._columns)
        distances = self._squares[:, None] + squares - 2 * products
        # Rounding must leave nothing of the distance to itself.
        is_own = places[..., None] == tf.range(tf.shape(distances)[-1])
        distances = tf.where(is_own, 0.0, tf.maximum(distances, LEAST))
        return tf.minimum(distances * self._weights, before[:, None])


def _draw_places(masses, numbers):
    """Draws places `(parts, trials)` by masses `(parts, n * COLUMNS)`."""
    rows = tf.reshape(masses, (masses.shape[0], -1, COLUMNS))
    row = _draw(tf.reduce_sum(rows, axis=-1)[:, None], numbers[..., 0])
    place = _draw(tf.gather(rows, row, batch_dims=1), numbers[..., 1])
    return row * COLUMNS + place


def _draw(masses, numbers):
    ends = tf.cumsum(masses, axis=-1)
    is_before = ends <= numbers[..., None] * ends[..., -1:]
    place = tf.reduce_sum(tf.cast(is_before, tf.int32), axis=-1)
    place = tf.minimum(place, tf.shape(masses)[-1] - 1)
    masses = tf.broadcast_to(masses, (*numbers.shape, tf.shape(masses)[-1]))
    # Sums may be rounded up to a place without any mass.
    drawn = tf.gather(masses, place, batch_dims=2)
    largest = tf.argmax(masses, axis=-1, output_type=tf.int32)
    return tf.where(drawn > 0, place, largest)

"""Tests of keras_xf.ops.k_means."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.cluster import kmeans_plusplus

from keras_xf.ops import quantization
from keras_xf.ops.k_means import k_means
from keras_xf.ops.k_means import spread_vectors

SEED = tf.constant([1, 2])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_finds_separate_blobs():
    centers = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], "float32")
    vectors = np.repeat(centers, 50, axis=0) + 0.01 * normal(200, 2)
    weights = np.ones(201, "float32")
    weights[200] = 0
    vectors = np.concatenate([vectors, [[500, 500]]]).astype("float32")
    start = vectors[[3, 60, 110, 180]] + 1
    codes, counts = k_means(vectors[None], start[None], 5, weights)
    np.testing.assert_allclose(codes[0], centers, atol=0.01)
    np.testing.assert_array_equal(counts[0], [50] * 4)
    np.testing.assert_allclose(
        quantization.perplexity(counts), [4.0], rtol=1e-5
    )


def test_leaves_a_code_without_vectors():
    start = np.array([[0, 0], [99, 99]], "float32")
    codes, counts = k_means(normal(1, 9, 2), start[None], 3)
    np.testing.assert_array_equal(codes[0, 1], [99, 99])
    np.testing.assert_array_equal(counts[0], [9, 0])


def probabilities_of_two(vectors, weights, trials):
    """How likely each vector is to be the first and the second, by hand."""
    distances = np.sum((vectors[:, None] - vectors[None]) ** 2, axis=-1)
    first = weights / np.sum(weights)
    second = np.zeros(len(vectors))
    for given, probability in enumerate(first):
        masses = weights * distances[given]
        left = np.sum(
            np.minimum(distances[given], distances) * weights, axis=-1
        )
        masses = masses / np.sum(masses)
        for place, mass in enumerate(masses):
            # The best of all trials is not better, less that it is worse.
            worse = np.sum(masses[left > left[place]])
            same = np.sum(masses[left >= left[place]])
            assert np.isclose(same - worse, mass), "no two are alike"
            second[place] += probability * (same**trials - worse**trials)
    return first, second


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_draws_by_the_square_of_distances(jit_compile):
    vectors = normal(5, 3) + 7
    weights = np.array([1, 3, 0, 1, 2], "float32")
    # Each part draws for itself.
    parts = 20_000
    draw = spread_vectors
    if jit_compile is not None:
        draw = tf.function(draw, jit_compile=jit_compile)
    rows, found = draw(
        tf.tile(vectors[None], (parts, 1, 1)), tf.constant(weights), SEED, 2
    )
    assert found
    places = np.argmax(
        np.all(rows[:, :, None] == vectors[None, None], axis=-1), axis=-1
    )
    for drawn, expected in zip(
        places.T, probabilities_of_two(vectors, weights, trials=2), strict=True
    ):
        rates = np.bincount(drawn, minlength=5) / parts
        np.testing.assert_allclose(rates, expected, atol=0.015)
        np.testing.assert_array_equal(rates == 0, expected == 0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_begins_in_each_of_many_blobs(jit_compile):
    # More than a row of vectors, all of them far from the origin.
    centers = 1000 + normal(2, 40, 8)
    vectors = np.repeat(centers, 20, axis=1) + 0.01 * normal(2, 800, 8, seed=1)
    draw = tf.function(spread_vectors, jit_compile=jit_compile)
    for seed in range(20):
        rows, _ = draw(tf.constant(vectors), None, tf.constant([seed, 0]), 40)
        for part in range(2):
            distances = np.linalg.norm(
                centers[part][:, None] - np.asarray(rows)[part], axis=-1
            )
            assert len(set(np.argmin(distances, axis=0))) == 40, seed


def test_leaves_as_little_as_scikit_learn():
    centers = normal(15, 4)
    vectors = np.repeat(centers, 40, axis=0) + 0.3 * normal(600, 4, seed=1)
    # Each part draws for itself.
    parts = np.tile(vectors[None], (60, 1, 1))
    ours, _ = spread_vectors(parts, None, SEED, 15)
    theirs = [
        kmeans_plusplus(vectors, 15, random_state=seed)[0] for seed in range(60)
    ]
    candidates, _ = quantization.draw_candidates(parts, None, SEED, 15)

    def mean_left(codes):
        squares = np.sum((np.asarray(codes)[:, :, None] - vectors) ** 2, -1)
        return np.mean(np.min(squares, axis=1))

    assert abs(mean_left(ours) / mean_left(theirs) - 1) < 0.05
    assert mean_left(candidates) > 1.2 * mean_left(theirs)


@pytest.mark.parametrize("draw", [spread_vectors, quantization.draw_candidates])
@pytest.mark.parametrize("number", [3, 20])
@pytest.mark.parametrize("is_masked", [False, True])
def test_draws_all_before_one_again(draw, number, is_masked):
    vectors = np.arange(2 * number, dtype="float32").reshape(2, number, 1)
    weights = None
    allowed = np.arange(number)
    if is_masked:
        weights = (np.arange(number) % 2).astype("float32")
        allowed = allowed[1::2]
        vectors[:, ::2] = np.nan
    rows, found = draw(vectors, weights, SEED, 7)
    assert found
    for part in range(2):
        drawn = np.asarray(rows)[part, :, 0] - part * number
        assert set(drawn) <= set(allowed)
        assert len(set(drawn)) == min(7, len(allowed))
        counts = np.unique(drawn, return_counts=True)[1]
        assert np.ptp(counts) <= 1
    other, _ = draw(vectors, weights, tf.constant([1, 3]), 7)
    assert np.any(other != rows) == (len(allowed) > 1)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("far", [1e3, 1e6])
def test_what_rounding_cannot_tell_apart_is_drawn_once_too(far, scale):
    # Two blobs so far from each other that within them nothing is left.
    vectors = normal(2, 40, 3) + np.where(np.arange(40) % 2, far, -far)[:, None]
    vectors = (vectors * scale).astype("float32")
    rows, _ = spread_vectors(vectors, None, SEED, 40)
    for drawn, given in zip(np.asarray(rows), vectors, strict=True):
        assert len(np.unique(drawn, axis=0)) == len(np.unique(given, axis=0))


def test_parts_may_hold_fewer_different_vectors():
    vectors = np.stack([np.ones((9, 2)), normal(9, 2)]).astype("float32")
    rows, found = spread_vectors(vectors, None, SEED, 9)
    assert found
    np.testing.assert_array_equal(rows[0], vectors[0])
    assert len(np.unique(rows[1], axis=0)) == 9


@pytest.mark.parametrize("number", [0, 4])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_there_is_nothing_to_spread(number, jit_compile):
    draw = tf.function(spread_vectors, jit_compile=jit_compile)
    rows, found = draw(normal(2, number, 3), np.zeros(number, "f"), SEED, 5)
    assert not found
    assert np.all(np.isfinite(rows))


def test_any_shape_after_others_in_eager_execution():
    for parts, number, dim in ((1, 9, 2), (2, 9, 2), (3, 9, 5), (3, 7, 4)):
        rows, found = spread_vectors(normal(parts, number, dim), None, SEED, 4)
        assert found
        assert rows.shape == (parts, 4, dim)


def test_any_number_of_vectors():
    draw = tf.function(
        lambda vectors, weights: spread_vectors(vectors, weights, SEED, 5),
        input_signature=[tf.TensorSpec((2, None, 3)), tf.TensorSpec((None,))],
    )
    for number in (0, 5, 300):
        vectors, weights = normal(2, number, 3), np.ones(number, "float32")
        rows, found = draw(vectors, weights)
        assert rows.shape == (2, 5, 3)
        assert found == (number > 0)
        if number:
            expected, _ = spread_vectors(vectors, weights, SEED, 5)
            np.testing.assert_array_equal(rows, expected)

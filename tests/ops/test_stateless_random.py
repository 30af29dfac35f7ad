"""Tests of keras_xf.ops.stateless_random."""

import keras
import numpy as np
import tensorflow as tf

from keras_xf.ops import stateless_random

SEED = tf.constant([3, 4])


def test_compiled_and_eager_draws_are_the_same():
    def draw(seed):
        seed = stateless_random.fold_in(seed, 7)
        return (
            seed,
            stateless_random.normal(seed, (50, 40)),
            stateless_random.keep(seed, (50, 40), 0.3),
        )

    seed, normal, keep = draw(SEED)
    for jit_compile in (False, True):
        others = tf.function(draw, jit_compile=jit_compile)(SEED)
        np.testing.assert_array_equal(others[0], seed)
        np.testing.assert_allclose(others[1], normal, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(others[2], keep)


def test_normal_draws_have_the_moments_of_a_normal_distribution():
    draws = np.asarray(stateless_random.normal(SEED, (200_000,)), "float64")
    assert draws.dtype == "float64" and np.all(np.isfinite(draws))
    # Some four standard deviations each.
    assert abs(np.mean(draws)) < 0.01
    assert abs(np.mean(draws**2) - 1) < 0.015
    assert abs(np.mean(draws**3)) < 0.04
    assert abs(np.mean(draws**4) - 3) < 0.1
    # The upper and the lower tail.
    for tail in (draws > 1.6449, draws < -1.6449):
        assert abs(np.mean(tail) - 0.05) < 0.002


def test_uniform_draws_are_even_and_the_same_compiled():
    draws = stateless_random.uniform(SEED, (100_000,))
    assert draws.dtype == "float32"
    assert np.min(draws) >= 0 and np.max(draws) < 1
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    # Five standard deviations.
    assert np.all(np.abs(counts - 5000) < 350)
    compiled = tf.function(stateless_random.uniform, jit_compile=True)
    np.testing.assert_array_equal(compiled(SEED, (100_000,)), draws)


def test_a_longer_first_axis_begins_alike():
    short = stateless_random.normal(SEED, (3, 4, 5))
    long = stateless_random.normal(SEED, (tf.constant(9), 4, 5))
    np.testing.assert_array_equal(long[:3], short)


def test_keep_drops_the_stated_fraction():
    for rate in (0.0, 0.1, 0.5):
        kept = stateless_random.keep(SEED, (1000, 200), rate)
        assert kept.dtype == tf.bool
        assert abs(np.mean(kept) - (1 - rate)) < 0.005
    assert np.all(stateless_random.keep(SEED, (1000, 200), 0.0))


def test_other_numbers_give_other_and_unrelated_draws():
    draws = [
        np.asarray(
            stateless_random.normal(stateless_random.fold_in(SEED, n), (9999,))
        )
        for n in range(3)
    ]
    correlations = np.corrcoef(draws) - np.eye(3)
    assert np.all(np.abs(correlations) < 0.05)
    np.testing.assert_array_equal(
        stateless_random.fold_in(SEED, tf.constant(2)),
        stateless_random.fold_in(SEED, 2),
    )


def test_draw_moves_the_generator_on_by_one():
    generator = keras.random.SeedGenerator(5)
    first, second = (stateless_random.draw(generator) for _ in range(2))
    assert first.dtype == "int32" and first.shape == (2,)
    assert not np.array_equal(first, second)
    again = keras.random.SeedGenerator(5)
    np.testing.assert_array_equal(stateless_random.draw(again), first)
    np.testing.assert_array_equal(stateless_random.draw(again), second)
    np.testing.assert_array_equal(again.state, generator.state)

"""Tests of keras_xf.decoding.noise."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import uniform_noise

SEEDS = np.array([[1, 2], [2**31 - 1, -5], [0, 0]], "int32")


def test_noise_is_the_same_eagerly_in_a_graph_and_under_xla():
    def draw(seed):
        return uniform_noise(seed, 7)

    signature = [tf.TensorSpec([None, 2], tf.int32)]
    eager = draw(SEEDS)
    assert eager.shape == (3, 7)
    for jit_compile in (False, True):
        compiled = tf.function(
            draw, input_signature=signature, jit_compile=jit_compile
        )
        np.testing.assert_array_equal(compiled(SEEDS), eager)


def test_noise_depends_on_the_seed_of_the_row_and_the_draw_alone():
    together = uniform_noise(SEEDS, 9).numpy()
    for row, seed in zip(together, SEEDS, strict=True):
        for num_draws in (1, 4, 9):
            alone = uniform_noise([seed], num_draws)[0]
            np.testing.assert_array_equal(alone, row[:num_draws])


def test_rows_differ_in_either_half_of_the_seed():
    noise = uniform_noise([[0, 0], [0, 1], [1, 0]], 1).numpy()
    assert len(set(noise[:, 0])) == 3


def test_noise_is_uniform_within_rows_and_across_neighboring_seeds():
    seeds = np.stack([np.arange(1000), np.zeros(1000)], axis=1).astype("int32")
    noise = tf.function(uniform_noise)(seeds, 20).numpy()
    assert noise.min() >= 0
    assert noise.max() < 1
    for draws in (noise.ravel(), noise[:, 0], noise[:, 19]):
        observed, _ = np.histogram(draws, bins=10, range=(0, 1))
        expected = len(draws) / 10
        # Chi-square of 9 degrees of freedom: 27.9 has a chance of 0.001.
        assert np.sum((observed - expected) ** 2) / expected < 27.9
    # Neighboring seeds, and neighboring draws: 3.3 standard deviations.
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.105
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.105


def test_seed_without_two_numbers_a_row_is_rejected():
    for seed, shape in [([1, 2], "(2,)"), ([[1, 2, 3]], "(1, 3)")]:
        with pytest.raises(ValueError) as error:
            uniform_noise(seed, 4)
        assert str(error.value) == (
            f"`seed` must have the shape (batch, 2). Received: shape='{shape}'."
        )

"""Tests of keras_xf.ops.discrete."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import discrete
from keras_xf.ops import packing
from keras_xf.ops import stateless_random


def saturating_sigmoid_oracle(x):
    return np.clip(1.2 / (1.0 + np.exp(-x)) - 0.1, 0.0, 1.0)


def softmax_oracle(x):
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_saturating_sigmoid_matches_numpy():
    x = np.linspace(-6, 6, 101).astype("float32")
    np.testing.assert_allclose(
        discrete.saturating_sigmoid(x),
        saturating_sigmoid_oracle(x),
        rtol=1e-6,
        atol=1e-6,
    )


def test_saturating_sigmoid_ends_at_the_logarithm_of_11():
    edge = math.log(11)
    x = tf.constant([-edge - 1e-3, -edge + 1e-3, edge - 1e-3, edge + 1e-3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = discrete.saturating_sigmoid(x)
    assert y[0] == 0 < y[1] and y[2] < 1 == y[3]
    slopes = tape.gradient(y, x)
    np.testing.assert_array_equal(slopes > 0, [False, True, True, False])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_straight_through_does_not_round(dtype, jit_compile):
    value = tf.cast(tf.linspace(-1.0, 1.0, 101), dtype)
    function = tf.function(discrete.straight_through, jit_compile=jit_compile)
    np.testing.assert_array_equal(function(value, 1000 * value + 1), value)


def test_straight_through_has_the_gradient_of_the_other():
    value, surrogate = tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])
    factors = tf.constant([5.0, 7.0])
    with tf.GradientTape() as tape:
        tape.watch([value, surrogate])
        loss = tf.reduce_sum(
            factors * discrete.straight_through(value, surrogate)
        )
    of_value, of_surrogate = tape.gradient(loss, [value, surrogate])
    assert of_value is None
    np.testing.assert_array_equal(of_surrogate, factors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_hard_bits_are_exactly_zero_or_one(dtype):
    logits = tf.cast(tf.linspace(-3.0, 3.0, 301), dtype)
    bits = tf.cast(discrete.hash_bits(logits, use_hard=True), "float32")
    np.testing.assert_array_equal(bits, np.asarray(logits, "float32") > 0)


@pytest.mark.parametrize("use_hard", [True, False])
def test_bits_carry_the_gradient_of_the_soft_bits(use_hard):
    logits = tf.constant([-3.0, -1.0, 0.5, 3.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        bits = discrete.hash_bits(logits, use_hard)
        soft = discrete.saturating_sigmoid(logits)
    np.testing.assert_array_equal(
        tape.gradient(bits, logits), tape.gradient(soft, logits)
    )


def test_golden_bits():
    logits = tf.constant([-3.0, -1.0, 0.0, 0.5, 2.5])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        soft = discrete.hash_bits(logits, use_hard=False)
    np.testing.assert_allclose(soft, [0, 0.22273, 0.5, 0.646951, 1], atol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(soft, logits), [0, 0.235934, 0.3, 0.282004, 0], atol=1e-6
    )
    hard = discrete.hash_bits(logits, use_hard=True)
    np.testing.assert_array_equal(hard, [0, 0, 0, 1, 1])
    assert packing.pack(hard, 2) == 24


def test_each_vector_may_be_hard_or_soft():
    logits = tf.constant([[0.5, -1.0], [0.5, -1.0]])
    bits = discrete.hash_bits(logits, np.array([[True], [False]]))
    np.testing.assert_array_equal(bits[0], [1, 0])
    np.testing.assert_array_equal(
        bits[1], discrete.saturating_sigmoid([0.5, -1.0])
    )


def test_bits_choose_rows_of_tables():
    generator = np.random.default_rng(0)
    ones, zeros = generator.normal(size=(2, 4, 3))
    bits = generator.uniform(size=(2, 5, 4))
    expected = np.zeros((2, 5, 3))
    for place in np.ndindex(2, 5):
        for bit in range(4):
            share = bits[(*place, bit)]
            expected[place] += share * ones[bit] + (1 - share) * zeros[bit]
    np.testing.assert_allclose(
        discrete.read_bits(bits, ones, zeros), expected, atol=1e-12
    )


def test_entropy_of_bits():
    counts = np.array([0, 4, 8, 2], "float32")
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    np.testing.assert_allclose(
        discrete.bit_entropy(counts, 8.0), (1 + quarter) / 4, rtol=1e-6
    )
    assert discrete.bit_entropy(0 * counts, 0.0) == 0


def test_golden_noise_and_softmax():
    noise = discrete.gumbel_noise(np.array([0.3, 0.9, 0.5], "float32"))
    np.testing.assert_allclose(
        noise, [-0.185627, 2.250367, 0.366513], atol=2e-6
    )
    logits = noise + np.array([1, 0, -1], "float32")
    for temperature, expected in (
        (1.0, [0.183861, 0.772918, 0.043221]),
        (0.5, [0.053398, 0.943652, 0.002951]),
    ):
        np.testing.assert_allclose(
            discrete.gumbel_softmax(logits, temperature), expected, atol=1e-6
        )


def test_noise_is_finite_at_the_ends():
    noise = discrete.gumbel_noise(np.array([0, 1 - 2**-24, 1], "float32"))
    np.testing.assert_allclose(noise, [-2.811, 16.636, 16.636], atol=1e-3)


def test_the_largest_is_drawn_by_its_probability():
    logits = np.array([2, 1, 0, -1], "float32")
    draws = 400_000
    uniform = stateless_random.uniform(tf.constant([1, 2]), (draws, 4))
    drawn = np.argmax(logits + discrete.gumbel_noise(uniform), axis=-1)
    expected = softmax_oracle(logits.astype("float64")) * draws
    found = np.bincount(drawn, minlength=4)
    # 16.3 is exceeded once in a thousand times, by three degrees of freedom.
    assert np.sum((found - expected) ** 2 / expected) < 16.3


def test_distances_are_logits():
    random = np.random.default_rng(0)
    # What all share is large.
    vectors = (100 + random.normal(size=(50, 3))).astype("float32")
    codes = (100 + random.normal(size=(7, 3))).astype("float32")
    found = np.asarray(discrete.distance_logits(vectors, codes), "float64")
    wide = vectors.astype("float64")[:, None] - codes.astype("float64")
    expected = -np.sum(wide**2, axis=-1)
    # Up to a number of each vector's own.
    difference = found - expected
    difference -= difference.mean(-1, keepdims=True)
    np.testing.assert_allclose(difference, 0, atol=1e-4)


def test_temperature_goes_from_one_hot_to_uniform():
    logits = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    one_hot = np.eye(6)[logits.argmax(-1)]
    cold = discrete.gumbel_softmax(logits, 1e-3)
    is_clear = np.diff(np.sort(logits), axis=-1)[:, -1] > 0.02
    assert is_clear.sum() > 40
    np.testing.assert_allclose(cold[is_clear], one_hot[is_clear], atol=1e-6)
    # Nothing is divided by zero.
    np.testing.assert_array_equal(discrete.gumbel_softmax(logits, 0.0), cold)
    hot = discrete.gumbel_softmax(logits, 1e6)
    np.testing.assert_allclose(hot, np.full((50, 6), 1 / 6), atol=1e-5)


def test_hard_softmax_is_one_hot_with_the_soft_gradient():
    generator = np.random.default_rng(0)
    logits = tf.constant(generator.normal(size=(5, 6)), "float32")
    factors = generator.normal(size=(5, 6)).astype("float32")
    gradients = []
    for hard in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            y = discrete.gumbel_softmax(logits, 0.7, hard)
            loss = tf.reduce_sum(y * factors)
        gradients.append(tape.gradient(loss, logits))
        if hard:
            one_hot = np.eye(6)[np.argmax(logits, axis=-1)]
            np.testing.assert_array_equal(y, one_hot)
    np.testing.assert_array_equal(*gradients)


def test_half_precision_is_computed_in_single():
    logits = tf.constant([[300.0, 200.0, 100.0]], "float16")
    weights = discrete.gumbel_softmax(logits, 1e-3)
    assert weights.dtype == "float32"
    np.testing.assert_array_equal(weights, [[1, 0, 0]])


def test_divergence_from_uniform_matches_numpy():
    logits = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    p = softmax_oracle(logits)
    rows = np.sum(p * np.log(p), axis=-1) + np.log(6)
    np.testing.assert_allclose(
        discrete.divergence_from_uniform(logits), rows.mean(), rtol=1e-5
    )
    weights = np.array([1, 0, 0, 1, 1], "float32")
    np.testing.assert_allclose(
        discrete.divergence_from_uniform(logits, weights),
        rows[weights > 0].mean(),
        rtol=1e-5,
    )
    assert discrete.divergence_from_uniform(logits, 0 * weights) == 0
    np.testing.assert_allclose(
        discrete.divergence_from_uniform(0 * logits), 0, atol=1e-6
    )

"""Tests of keras_xf.ops.quantization."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import quantization
from keras_xf.ops.k_means import k_means
from keras_xf.ops.nearest import nearest_codes
from tests.oracles import quantization as oracle

GOLDEN_CODES = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32")
GOLDEN_VECTORS = np.array(
    [[0.1, 0], [0.9, 0.2], [0.2, 0.9], [1.1, 0.8], [0.9, 1.2], [0, 0.2]],
    "float32",
)


def begin(codes, **options):
    return quantization.start_state(
        tf.constant(codes[None]), tf.constant(0), **options
    )


def step(state, vectors, weights=None, decay=0.9, epsilon=1e-5, **options):
    vectors = tf.constant(vectors[None])
    indices = nearest_codes(vectors, state.codes)
    counts, sums = quantization.statistics(
        vectors, indices, state.codes.shape[1], weights
    )
    return quantization.ema_step(
        state, counts, sums, decay=decay, epsilon=epsilon, **options
    )


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_golden_case():
    indices = nearest_codes(GOLDEN_VECTORS[None], GOLDEN_CODES[None])
    np.testing.assert_array_equal(indices[0], [0, 1, 2, 3, 3, 0])
    rows = quantization.look_up(GOLDEN_CODES[None], indices)
    loss = 0.25 * quantization.mean_square(GOLDEN_VECTORS[None], rows)
    np.testing.assert_allclose(loss, 0.005208, atol=5e-7)
    counts, _ = quantization.statistics(GOLDEN_VECTORS[None], indices, 4)
    np.testing.assert_allclose(
        quantization.perplexity(counts), [3.779763], rtol=1e-6
    )


def test_golden_steps_from_ones():
    state = step(begin(GOLDEN_CODES), GOLDEN_VECTORS)
    np.testing.assert_allclose(
        state.codes[0],
        [[0.009091, 0.018182], [0.99, 0.02], [0.02, 0.99], [1, 1]],
        atol=1e-6,
    )
    np.testing.assert_allclose(state.counts[0], [1.1, 1, 1, 1.1], rtol=1e-6)
    state = step(state, GOLDEN_VECTORS)
    np.testing.assert_allclose(
        state.codes[0],
        [
            [0.015966, 0.031933],
            [0.980999, 0.038],
            [0.038, 0.980999],
            [1.000001, 1.000001],
        ],
        atol=1e-6,
    )
    np.testing.assert_allclose(state.counts[0], [1.19, 1, 1, 1.19], rtol=1e-6)


def test_golden_steps_from_zeros():
    state = begin(GOLDEN_CODES, zero_debias=True)
    expected = [
        [0.05, 0.1],
        [0.899997, 0.199999],
        [0.199999, 0.899997],
        [1.000002, 1.000002],
    ]
    for _ in range(2):
        state = step(state, GOLDEN_VECTORS, zero_debias=True)
        np.testing.assert_allclose(state.codes[0], expected, atol=1e-6)
    assert state.steps == 2


@pytest.mark.parametrize("zero_debias", [False, True])
@pytest.mark.parametrize("decay", [0.8, 0.99])
def test_steps_equal_the_loop(zero_debias, decay):
    codes = normal(8, 3)
    weights = (np.random.default_rng(9).uniform(size=400) < 0.7).astype("f")
    averages = oracle.Averages(
        codes, decay, 1e-5, start=0.0 if zero_debias else 1.0
    )
    state = begin(codes, zero_debias=zero_debias)
    for number in range(20):
        vectors = normal(400, 3, seed=number)
        found = nearest_codes(vectors[None], state.codes)[0]
        np.testing.assert_array_equal(found, averages.step(vectors, weights))
        state = step(
            state, vectors, weights, decay=decay, zero_debias=zero_debias
        )
        np.testing.assert_allclose(state.codes[0], averages.codes, atol=1e-5)
        np.testing.assert_allclose(
            state.counts[0], averages.counts, rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(state.sums[0], averages.sums, atol=1e-4)


def test_codes_become_the_means_of_what_hits_them():
    # With (1 + decay) for (1 - decay), as has been printed, 1999 times them.
    state = begin(np.array([[0, 0], [9, 9]], "float32"))
    vectors = np.array([[1, 2], [3, 4], [8, 7]], "float32")
    for _ in range(400):
        state = step(state, vectors, decay=0.9)
    np.testing.assert_allclose(state.codes[0], [[2, 3], [8, 7]], rtol=1e-3)


def test_codes_reach_a_fixed_point_of_lloyds_algorithm():
    vectors = normal(300, 2)
    state = begin(vectors[:6])
    for _ in range(150):
        state = step(state, vectors, decay=0.8, epsilon=0.0)
    means, _ = k_means(vectors[None], state.codes, 1)
    np.testing.assert_allclose(state.codes, means, atol=1e-4)


def test_what_is_wrong_goes_by_the_decay_while_hits_stay():
    vectors, indices = normal(1, 40, 3), np.arange(40)[None] % 4
    counts, sums = quantization.statistics(vectors, indices, 4)
    codes = normal(1, 4, 3, seed=1)
    state = quantization.start_state(
        tf.constant(codes), tf.constant(0), counts=counts
    )
    means = np.asarray(sums) / 10
    for number in range(1, 41):
        state = quantization.ema_step(
            state, counts, sums, decay=0.9, epsilon=0.0
        )
        np.testing.assert_allclose(
            state.codes - means, 0.9**number * (codes - means), atol=1e-6
        )


def test_a_dead_code_falls_to_the_origin_once_its_count_is_epsilon():
    # Half of it is left after ln(1e5) / -ln(0.999) = 11,507 steps.
    state = begin(np.array([[0, 0], [3, 4]], "float32"))
    counts, sums = np.array([[1.0, 0]], "f"), np.zeros((1, 2, 2), "f")

    @tf.function(jit_compile=True)
    def steps(state, number):
        for _ in tf.range(number):
            state = quantization.ema_step(
                state, counts, sums, decay=0.999, epsilon=1e-5
            )
        return state

    for number, expected in (
        (11_000, 3.1207),
        (11_501, 2.5077),
        (11_520, 2.4840),
        (16_000, 0.0555),
    ):
        state = steps(state, tf.constant(number) - state.steps)
        np.testing.assert_allclose(
            np.linalg.norm(state.codes[0, 1]), expected, atol=1e-3
        )
    np.testing.assert_array_equal(state.codes[0, 0], [0, 0])


def test_an_unhit_code_stays_where_it_is():
    codes = np.array([[0, 0], [50, 60]], "float32")
    vectors = normal(30, 2)
    state = step(begin(codes), vectors)
    np.testing.assert_allclose(state.codes[0, 1], codes[1], rtol=1e-4)
    begun = begin(codes, zero_debias=True)
    gone = step(begun, vectors, zero_debias=True)
    np.testing.assert_array_equal(gone.codes[0, 1], [0, 0])
    kept = step(begun, vectors, zero_debias=True, keep_unhit=True)
    np.testing.assert_array_equal(kept.codes[0, 1], codes[1])
    np.testing.assert_array_equal(kept.codes[0, 0], gone.codes[0, 0])


def test_counts_obey_their_recurrence():
    state = begin(normal(5, 2))
    for number in range(5):
        before = np.sum(state.counts)
        state = step(state, normal(70, 2, seed=number))
        np.testing.assert_allclose(
            np.sum(state.counts), 0.9 * before + 0.1 * 70, rtol=1e-6
        )


@pytest.mark.parametrize("zero_debias", [False, True])
def test_smoothing_keeps_the_sum_of_the_counts(zero_debias):
    # Of each part alone, with an epsilon that matters.
    codes, vectors = normal(2, 4, 3, seed=1), 5 + normal(2, 70, 3)
    state = quantization.start_state(
        tf.constant(5 + codes), tf.constant(0), zero_debias=zero_debias
    )
    indices = np.stack([np.arange(70) % 4, np.arange(70) % 3 + 1])
    counts, sums = quantization.statistics(vectors, indices, 4)
    new = quantization.ema_step(
        state, counts, sums, decay=0.9, epsilon=0.5, zero_debias=zero_debias
    )
    scale = 0.1 if zero_debias else 1.0
    averages = np.asarray(new.counts, "float64") / scale
    # What the sums were divided by; the first code of the second part has
    # none, unless it began with one.
    hit = averages > 0
    assert np.sum(~hit) == zero_debias
    smoothed = np.full((2, 4), np.nan)
    smoothed[hit] = (
        np.asarray(new.sums, "float64")[hit, 0]
        / scale
        / np.asarray(new.codes, "float64")[hit, 0]
    )
    total = averages.sum(axis=-1, keepdims=True)
    expected = (averages + 0.5) / (total + 4 * 0.5) * total
    np.testing.assert_allclose(expected.sum(-1), total[:, 0], rtol=1e-12)
    np.testing.assert_allclose(smoothed[hit], expected[hit], rtol=1e-6)
    np.testing.assert_allclose(
        smoothed[:1].sum(axis=-1), total[:1, 0], rtol=1e-6
    )


@pytest.mark.parametrize(
    "vectors", [normal(0, 2), np.full((3, 2), np.nan, "float32")]
)
@pytest.mark.parametrize("zero_debias", [False, True])
def test_a_step_of_nothing_changes_nothing(vectors, zero_debias):
    before = begin(GOLDEN_CODES, zero_debias=zero_debias)
    after = step(before, vectors, zero_debias=zero_debias)
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    masked = step(before, GOLDEN_VECTORS, np.zeros(6, "float32"))
    np.testing.assert_array_equal(masked.codes, before.codes)


def test_parts_do_not_know_of_each_other():
    vectors, codes = normal(2, 50, 3), normal(2, 4, 3, seed=1)
    state = quantization.start_state(tf.constant(codes), tf.constant(0))
    indices = nearest_codes(vectors, codes)
    counts, sums = quantization.statistics(vectors, indices, 4)
    together = quantization.ema_step(
        state, counts, sums, decay=0.9, epsilon=1e-5
    )
    for part in range(2):
        alone = step(begin(codes[part]), vectors[part])
        np.testing.assert_allclose(
            together.codes[part], alone.codes[0], rtol=1e-6
        )
        np.testing.assert_allclose(
            together.counts[part], alone.counts[0], rtol=1e-6
        )


def test_slices_are_joined_again():
    vectors = normal(5, 6)
    parts = quantization.split(tf.constant(vectors), 3)
    np.testing.assert_array_equal(parts[1], vectors[:, 2:4])
    np.testing.assert_array_equal(quantization.join(parts), vectors)


def test_looking_up_adds_gradients_of_one_row_up():
    codes = tf.Variable(normal(2, 4, 3))
    indices = tf.constant([[1, 1, 3], [0, 2, -1]])
    factors = normal(2, 3, 3, seed=1)
    with tf.GradientTape() as tape:
        rows = quantization.look_up(codes, indices)
        loss = tf.reduce_sum(rows * factors)
    np.testing.assert_array_equal(rows[0, 2], codes[0, 3])
    np.testing.assert_array_equal(rows[1, 2], codes[1, 0])
    gradient = tape.gradient(loss, codes)
    expected = np.zeros((2, 4, 3), "float32")
    for part in range(2):
        for place in range(3):
            index = max(0, indices[part, place])
            expected[part, index] += factors[part, place]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize("number", [0, 4])
def test_there_are_no_candidates_of_nothing(number):
    _, found = quantization.draw_candidates(
        normal(2, number, 3), np.zeros(number), tf.constant([1, 2]), 5
    )
    assert not found


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_restarted_codes_stay_where_they_are_put(scale):
    state = begin(normal(4, 2))
    dead = np.array([[False, True, False, True]])
    rows = normal(1, 4, 2, seed=3)
    new = quantization.restart(state, dead, rows, 8.0, scale)
    np.testing.assert_array_equal(new.codes[dead], rows[dead])
    np.testing.assert_array_equal(new.codes[~dead], state.codes[~dead])
    np.testing.assert_allclose(new.counts[dead], 8.0 * scale)
    np.testing.assert_allclose(
        new.sums[dead] / np.asarray(new.counts)[dead][:, None],
        rows[dead],
        rtol=1e-6,
    )


def test_mean_square_counts_what_has_weight():
    vectors, codes = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    weights = np.array([1, 0, 1, 1, 0], "float32")
    expected = np.mean((vectors - codes)[:, weights > 0] ** 2)
    np.testing.assert_allclose(
        quantization.mean_square(vectors, codes, weights), expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        quantization.mean_square(vectors, codes),
        np.mean((vectors - codes) ** 2),
        rtol=1e-6,
    )
    assert quantization.mean_square(vectors, codes, 0 * weights) == 0
    assert quantization.mean_square(normal(2, 0, 3), normal(2, 0, 3)) == 0


def test_usage_of_codes():
    counts = np.array([[5, 5, 0, 0], [1, 1, 1, 1]], "float32")
    np.testing.assert_allclose(quantization.perplexity(counts), [2, 4], 1e-5)
    np.testing.assert_array_equal(quantization.active_codes(counts), [2, 4])
    np.testing.assert_array_equal(
        quantization.dead_fraction(counts, 0.03), [0.5, 0]
    )
    assert quantization.perplexity(np.zeros(4, "float32")) == 1

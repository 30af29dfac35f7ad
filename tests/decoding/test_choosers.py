"""Tests of keras_xf.decoding.choosers."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import assert_sampling_inputs
from keras_xf.decoding import greedy
from keras_xf.decoding import sample
from tests.decoding import oracles

NUM_DRAWS = 2000
# The middles of equal parts of [0, 1): drawing at all of them gives a
# distribution itself, to within one draw per token, rather than a sample of it.
EVEN_NOISE = ((np.arange(NUM_DRAWS) + 0.5) / NUM_DRAWS).astype("float32")


def drawn_frequencies(logits, **options):
    """How often each token is drawn over all of `EVEN_NOISE`."""
    rows = tf.constant(np.tile(logits, (NUM_DRAWS, 1)), tf.float32)
    token_ids = sample(rows, tf.constant(EVEN_NOISE), **options)
    assert token_ids.dtype == tf.int32
    return np.bincount(token_ids, minlength=len(logits)) / NUM_DRAWS


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(scale=1.5, size=12)


def test_greedy_picks_the_first_of_the_most_probable():
    logits = tf.constant([[0.0, 2.0, 2.0], [3.0, 3.0, 1.0], [-5.0, -4.0, -3.0]])
    chosen = greedy(logits)
    assert chosen.dtype == tf.int32
    np.testing.assert_array_equal(chosen, [1, 0, 2])


@pytest.mark.parametrize("temperature", [0.0, 0.1, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [None, 1, 4, 12, 100])
@pytest.mark.parametrize("top_p", [None, 0.01, 0.5, 0.9, 1.0])
def test_tokens_come_as_often_as_the_filtered_distribution_says(
    logits, temperature, top_k, top_p
):
    frequencies = drawn_frequencies(
        logits, temperature=temperature, top_k=top_k, top_p=top_p
    )
    distribution = oracles.filtered_distribution(
        logits, temperature=temperature, top_k=top_k, top_p=top_p or 1.0
    )
    np.testing.assert_allclose(frequencies, distribution, atol=2 / NUM_DRAWS)


def test_options_can_differ_from_row_to_row():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(40, 12)).astype("float32")
    noise = generator.uniform(size=40).astype("float32")
    temperature = generator.choice([0.0, 0.5, 2.0], size=40).astype("float32")
    top_p = generator.choice([0.3, 0.8, 1.0], size=40).astype("float32")
    together = sample(logits, noise, temperature=temperature, top_p=top_p)
    alone = [
        sample(
            logits[i : i + 1],
            noise[i : i + 1],
            temperature=float(temperature[i]),
            top_p=float(top_p[i]),
        )[0]
        for i in range(40)
    ]
    np.testing.assert_array_equal(together, alone)


def test_xla_draws_the_same():
    generator = np.random.default_rng(2)
    logits = generator.normal(scale=2.0, size=(300, 20)).astype("float32")
    noise = generator.uniform(size=300).astype("float32")
    temperature = generator.choice([0.0, 0.5, 2.0], size=300).astype("float32")
    top_p = generator.choice([0.3, 0.8, 1.0], size=300).astype("float32")

    def draw(logits, noise, temperature, top_p):
        return sample(logits, noise, temperature=temperature, top_p=top_p)

    arguments = [tf.constant(a) for a in (logits, noise, temperature, top_p)]
    np.testing.assert_array_equal(
        tf.function(draw, jit_compile=True)(*arguments), draw(*arguments)
    )


def test_cold_rows_take_the_first_of_equals_and_no_near_miss():
    logits = tf.constant([[1.0, 2.0 - 1e-6, 2.0, 2.0]])
    for noise in (0.0, 0.5, 1 - 2**-24):
        for temperature in (0.0, tf.constant([0.0])):
            token_ids = sample(logits, [noise], temperature=temperature)
            np.testing.assert_array_equal(token_ids, [2])


def test_top_k_of_equals_keeps_those_of_lowest_id():
    logits = np.zeros(6)
    frequencies = drawn_frequencies(logits, top_k=3)
    np.testing.assert_allclose(
        frequencies, [1 / 3, 1 / 3, 1 / 3, 0, 0, 0], atol=2 / NUM_DRAWS
    )


@pytest.mark.parametrize("noise", [0.0, 0.3, 1 - 2**-24])
@pytest.mark.parametrize("temperature", [1e-38, 1.0, 3e38, math.inf])
@pytest.mark.parametrize("vocabulary_size", [9, 3000])
def test_no_noise_or_temperature_draws_a_token_without_weight(
    noise, temperature, vocabulary_size
):
    lowest = np.finfo("float32").min
    logits = np.full((1, vocabulary_size), lowest, "float32")
    logits[0, [3, 5]] = [0.5, 1.0]
    for top_p in (None, 0.9999999):
        token_ids = sample(
            tf.constant(logits),
            tf.constant([noise]),
            temperature=tf.constant([temperature]),
            top_p=top_p,
        )
        assert token_ids[0] in (3, 5)


def test_xla_draws_no_token_without_weight_where_its_sums_are_off():
    # Compiled, the sums of many weights rise a little, or fall, at some of the
    # zeros among them. The noise is aimed at the first such rise of each row.
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2.0, size=(16, 3000)).astype("float32")
    logits -= logits.max(axis=1, keepdims=True)
    logits[generator.uniform(size=logits.shape) < 0.5] = -np.inf
    add_up = tf.function(
        lambda logits: tf.cumsum(tf.exp(logits), axis=-1), jit_compile=True
    )
    sums = add_up(logits).numpy()
    is_rise = (np.diff(sums) > 0) & np.isneginf(logits[:, 1:])
    before = sums[np.arange(16), np.argmax(is_rise, axis=1)]
    noise = before / sums.max(axis=1)

    draw = tf.function(sample, jit_compile=True)
    for _ in range(4):
        token_ids = draw(logits, noise).numpy()
        assert np.isfinite(logits[np.arange(16), token_ids]).all()
        noise = np.nextafter(noise, np.float32(1))


def test_asserted_inputs_may_reach_their_bounds():
    assert_sampling_inputs(tf.constant([0.0, 1e30]), tf.constant([1.0, 1e-30]))


@pytest.mark.parametrize(
    ("temperature", "top_p", "message"),
    [
        (-0.1, 1.0, "`temperature` must be finite and not negative. Received:"),
        (
            math.nan,
            1.0,
            "`temperature` must be finite and not negative. Received:",
        ),
        (
            math.inf,
            1.0,
            "`temperature` must be finite and not negative. Received:",
        ),
        (1.0, 0.0, "`top_p` must lie in (0, 1]. Received:"),
        (1.0, 1.1, "`top_p` must lie in (0, 1]. Received:"),
        (1.0, math.nan, "`top_p` must lie in (0, 1]. Received:"),
    ],
)
def test_asserts_values_in_a_graph_and_eagerly(temperature, top_p, message):
    arguments = (tf.constant([0.5, temperature]), tf.constant([0.5, top_p]))
    for function in (
        assert_sampling_inputs,
        tf.function(assert_sampling_inputs),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            function(*arguments)
        assert message in error.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"noise": None},
            "`noise` must be given: `generate` makes it from `seed`. "
            "Received: noise=None.",
        ),
        (
            {"temperature": -1.0},
            "`temperature` must be finite and not negative. "
            "Received: temperature=-1.0.",
        ),
        (
            {"temperature": math.inf},
            "`temperature` must be finite and not negative. "
            "Received: temperature=inf.",
        ),
        (
            {"temperature": math.nan},
            "`temperature` must be finite and not negative. "
            "Received: temperature=nan.",
        ),
        (
            {"top_k": 0},
            "`top_k` must be None or positive. Received: top_k=0.",
        ),
        (
            {"top_p": 0},
            "`top_p` must lie in (0, 1]. Received: top_p=0.",
        ),
        (
            {"top_p": 1.5},
            "`top_p` must lie in (0, 1]. Received: top_p=1.5.",
        ),
    ],
)
def test_rejects(options, message):
    arguments = {"noise": tf.constant([0.5]), **options}
    with pytest.raises(ValueError) as error:
        sample(tf.zeros([1, 4]), **arguments)
    assert str(error.value) == message

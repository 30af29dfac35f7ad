"""Tests of keras_xf.ops.attention."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import attention
from tests.oracles import attention as oracle

BATCH, HEADS, TARGET, SOURCE = 2, 3, 4, 6
PADDING_MASK = np.arange(SOURCE) < np.array([[6], [3]])
ATTENTION_MASK = np.random.default_rng(1).random((BATCH, TARGET, SOURCE)) < 0.6
POSITIONS = np.array([[2, 3, 4, 5], [0, 1, 2, 3]])


@pytest.fixture
def tensors():
    generator = np.random.default_rng(0)

    def draw(length, dim):
        return generator.normal(size=(BATCH, HEADS, length, dim))

    return draw(TARGET, 8), draw(SOURCE, 8), draw(SOURCE, 5)


@pytest.mark.parametrize(
    ("masks", "visible"),
    [
        ({}, lambda row, target, source: True),
        ({"causal": True}, lambda row, target, source: source <= target),
        (
            {"padding_mask": PADDING_MASK},
            lambda row, target, source: PADDING_MASK[row, source],
        ),
        (
            {"attention_mask": ATTENTION_MASK},
            lambda row, target, source: ATTENTION_MASK[row, target, source],
        ),
        (
            {"causal": True, "query_positions": POSITIONS},
            lambda row, target, source: source <= POSITIONS[row, target],
        ),
        (
            {"causal": True, "query_positions": POSITIONS[0]},
            lambda row, target, source: source <= POSITIONS[0, target],
        ),
        (
            {
                "causal": True,
                "padding_mask": PADDING_MASK,
                "attention_mask": ATTENTION_MASK,
            },
            lambda row, target, source: (
                source <= target
                and PADDING_MASK[row, source]
                and ATTENTION_MASK[row, target, source]
            ),
        ),
    ],
)
def test_attend_matches_the_oracle(tensors, masks, visible):
    np.testing.assert_allclose(
        attention.attend(*tensors, **masks),
        oracle.attend(*tensors, visible),
        atol=1e-12,
    )


def test_a_query_that_sees_nothing_gives_zeros_and_finite_gradients(tensors):
    query, key, value = (tf.constant(x, "float32") for x in tensors)
    mask = np.ones((BATCH, TARGET, SOURCE), bool)
    mask[0, 1] = False
    with tf.GradientTape() as tape:
        tape.watch([query, key, value])
        outputs = attention.attend(query, key, value, attention_mask=mask)
    np.testing.assert_array_equal(outputs[0, :, 1], 0)
    assert np.all(outputs[0, :, 0] != 0)
    for gradient in tape.gradient(outputs, [query, key, value]):
        assert np.all(np.isfinite(gradient))


def test_a_single_key_is_taken_whole_without_a_warning(tensors):
    query, key, value = tensors
    outputs = attention.attend(query, key[:, :, :1], value[:, :, :1])
    np.testing.assert_allclose(
        outputs, np.repeat(value[:, :, :1], TARGET, axis=2)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_many_keys_exactly_enough(dtype):
    # 4096 equal keys: half-precision sums of their exponentials would stop
    # growing at 2048 (float16) or at 256 (bfloat16).
    length = 4096
    query = tf.zeros((1, 1, 1, 2), dtype)
    key = tf.zeros((1, 1, length, 2), dtype)
    weights = attention.attention_weights(query, key)
    assert weights.dtype == "float32"
    np.testing.assert_allclose(weights, 1 / length, rtol=1e-6)


def test_large_logits_stay_finite(tensors):
    query, key, value = (tf.constant(x, "float16") for x in tensors)
    outputs = attention.attend(100 * query, 100 * key, value, causal=True)
    assert outputs.dtype == "float16"
    assert np.all(np.isfinite(outputs))


def test_dropout_drops_the_stated_fraction_and_keeps_the_mean():
    shape = (8, 4, 32, 64)
    generator = np.random.default_rng(0)
    query, key = (generator.normal(size=(8, 4, n, 4)) for n in (32, 64))
    ones = np.ones((*shape[:2], 64, 64)) * np.eye(64)
    plain = attention.attend(query, key, ones)
    dropped = attention.attend(query, key, ones, dropout=0.25, seed=7)
    zeros = np.mean(np.asarray(dropped) == 0)
    # 65536 draws: three standard deviations are 0.005.
    assert abs(zeros - 0.25) < 0.006
    kept = np.asarray(dropped) != 0
    np.testing.assert_allclose(
        np.asarray(dropped)[kept], np.asarray(plain)[kept] / 0.75
    )
    np.testing.assert_array_equal(
        attention.attend(query, key, ones, dropout=0.25, seed=7), dropped
    )


@pytest.mark.parametrize("new_length", [1, 3])
def test_write_puts_new_positions_where_they_belong(new_length):
    generator = np.random.default_rng(0)
    cache = generator.normal(size=(3, 2, 7, 4)).astype("float32")
    new = generator.normal(size=(3, 2, new_length, 4)).astype("float32")
    # The last row runs over the end of the cache.
    starts = [0, 2, 6]
    positions = np.array(starts)[:, None] + np.arange(new_length)
    expected = cache.copy()
    for row, start in enumerate(starts):
        for step in range(new_length):
            if start + step < 7:
                expected[row, :, start + step] = new[row, :, step]
    np.testing.assert_array_equal(
        attention.write(cache, new, positions), expected
    )


def test_heads_merge_into_rows():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    merged = np.asarray(attention.merge_heads(x))
    assert merged.shape == (2 * 4, 3 * 5)
    for row, head, place in np.ndindex(2, 3, 4):
        np.testing.assert_array_equal(
            merged[4 * row + place, 5 * head : 5 * head + 5],
            x[row, head, place],
        )


def test_agrees_with_keras(tensors):
    query, key, value = (x.astype("float32") for x in tensors)
    # Keras lays out the length before the heads.
    peer = keras.ops.dot_product_attention(
        *(np.swapaxes(x, 1, 2) for x in (query, key, value[..., :5]))
    )
    np.testing.assert_allclose(
        attention.attend(query, key, value),
        np.swapaxes(peer, 1, 2),
        atol=1e-5,
    )

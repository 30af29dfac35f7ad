"""What LSH attention must equal, for all rounds, paddings and ways to run it.

The paddings are rows of one batch, and all that is to be equal is tested by
other numbers in the same program. Further cases of each are in test_lsh.py,
and that compiled gradients are the eager ones, for all rounds.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import lsh
from keras_xf.ops.chunk_windows import ChunkWindows
from tests.oracles import lsh as oracle

LENGTH, HEADS, KEY_DIM, VALUE_DIM, CHUNK, BUCKETS = 23, 2, 5, 3, 4, 6
PLACE = np.arange(LENGTH)
MASK = np.stack(
    [
        PLACE >= 0,
        PLACE >= 5,
        PLACE < 18,
        (PLACE < 4) | (PLACE > 9),
        # Two chunks, of which the second one is not full; and one.
        np.isin(PLACE, (2, 3, 8, 11, 12, 20, 22)),
        np.isin(PLACE, (0, 9, 14)),
    ]
)
FEW = slice(4, 6)
BATCH = len(MASK)
UPSTREAM = np.random.default_rng(9).normal(
    size=(BATCH, LENGTH, HEADS, VALUE_DIM)
)


def draw(num_hashes):
    generator = np.random.default_rng(num_hashes)
    query_key = generator.normal(size=(BATCH, LENGTH, HEADS, KEY_DIM))
    value = generator.normal(size=(BATCH, LENGTH, HEADS, VALUE_DIM))
    shape = (BATCH, HEADS, num_hashes, LENGTH)
    buckets = generator.integers(0, BUCKETS, shape, dtype="int32")
    return query_key, value, behind(buckets)


def behind(buckets):
    """What is not real has a bucket behind all others."""
    return np.where(MASK[:, None, None], buckets, BUCKETS).astype("int32")


def dense(query_key, value, counts):
    """Dense attention in float64, to be differentiated."""
    query = tf.transpose(query_key, (0, 2, 1, 3))
    square = tf.reduce_mean(query**2, axis=-1, keepdims=True)
    key = query / tf.sqrt(square + 1e-6) / np.sqrt(KEY_DIM)
    logits = tf.matmul(query, key, transpose_b=True)
    logits = tf.where(np.eye(LENGTH, dtype=bool), -1e5, logits)
    logits += np.log(np.maximum(counts, 1))
    weights = tf.nn.softmax(tf.where(counts > 0, logits, -1e9))
    outputs = tf.matmul(weights, tf.transpose(value, (0, 2, 1, 3)))
    return tf.transpose(outputs, (0, 2, 1, 3))


def with_gradients(function, query_key, value, *rest):
    """Outputs and gradients, of what is real."""
    real = (rest[-1] if rest else MASK)[:, :, None, None]
    query_key, value = (tf.convert_to_tensor(x) for x in (query_key, value))
    with tf.GradientTape() as tape:
        tape.watch([query_key, value])
        outputs = function(query_key, value, *rest)
        outputs = tf.where(real, outputs, tf.zeros_like(outputs))
    return [outputs, *tape.gradient(outputs, [query_key, value], UPSTREAM)]


def expect(query_key, value, counts):
    return with_gradients(
        lambda query_key, value: dense(query_key, value, counts),
        query_key,
        value,
    )


def assert_all_close(actual, expected):
    # Without gradients, outputs alone.
    for a, e in zip(actual, expected, strict=False):
        np.testing.assert_allclose(a, e, atol=1e-10)


def neighbors(causal):
    """What is in the same chunk or the one before, counted without sorting."""
    counts = np.zeros((BATCH, HEADS, LENGTH, LENGTH), int)
    for row, real in enumerate(MASK):
        chunk = (np.cumsum(real) - 1) // CHUNK
        num_chunks = chunk.max() + 1
        offset = (chunk[:, None] - chunk) % num_chunks
        counts[row] = (offset <= 1) & real & real[:, None]
    return np.tril(counts) if causal else counts


def everything(causal):
    counts = MASK[:, None, None] & np.ones((BATCH, HEADS, LENGTH, 1), bool)
    return (np.tril(counts) if causal else counts).astype(int)


def make(causal, differentiate, **options):
    """A function of tensors, a mask the last, to outputs and gradients."""

    def attend(query_key, value, buckets, mask):
        return lsh.attend(
            query_key,
            value,
            buckets,
            windows=ChunkWindows(CHUNK, wrap="row"),
            padding_mask=mask,
            causal=causal,
            **options,
        )

    def run(*tensors):
        if differentiate:
            return with_gradients(attend, *tensors)
        real = tensors[-1][:, :, None, None]
        outputs = attend(*tensors)
        return [tf.where(real, outputs, tf.zeros_like(outputs))]

    return run


@pytest.mark.parametrize("num_hashes", [1, 2, 4, 8])
@pytest.mark.parametrize("causal", [False, True])
def test_equals_what_it_must(num_hashes, causal):
    tensors = draw(num_hashes)
    seen = oracle.seen(
        tensors[2], chunk_length=CHUNK, padding_mask=MASK, causal=causal
    )
    expected = expect(*tensors[:2], seen.sum(axis=0))
    actual = make(causal, differentiate=True)(*tensors, MASK)
    assert_all_close(actual, expected)
    run = tf.function(make(causal, differentiate=num_hashes == 4))
    check_all(run, tensors, causal, seen[0], expected)
    run = make(causal, differentiate=num_hashes == 1)
    run = tf.function(run, jit_compile=True)
    check_all(run, tensors, causal, seen[0], expected)


def check_all(run, tensors, causal, seen_first, expected):
    query_key, value, buckets = tensors
    actual = run(*tensors, MASK)
    assert_all_close(actual, expected)
    # Two chunks see each other whatever the buckets.
    of_all = expect(query_key, value, everything(causal))
    assert_all_close([x[FEW] for x in actual], [x[FEW] for x in of_all])
    if causal:
        row, first = np.arange(BATCH), MASK.argmax(axis=1)
        np.testing.assert_array_equal(
            actual[0].numpy()[row, first], value[row, first]
        )
    # One round again and again is one round.
    repeated = np.repeat(buckets[:, :, :1], buckets.shape[2], axis=2)
    of_first = expect(query_key, value, seen_first)
    assert_all_close(run(query_key, value, repeated, MASK), of_first)
    # Without buckets, what is near is seen.
    equal = behind(np.zeros_like(buckets))
    local = expect(query_key, value, neighbors(causal))
    assert_all_close(run(query_key, value, equal, MASK), local)
    # Neither what is padded nor other rows are known.
    unreal = ~MASK[:, :, None, None]
    query_key = np.where(unreal, 1e3, query_key)
    value = np.where(unreal, -1e3, value)
    tensors = [x[::-1] for x in (query_key, value, buckets, MASK)]
    np.testing.assert_array_equal(run(*tensors)[0][::-1], actual[0])


@pytest.mark.parametrize(
    ("num_hashes", "causal"),
    [(1, True), (2, False), (4, True), (8, False), (8, True)],
)
def test_what_is_seen_twice_may_weigh_once(num_hashes, causal):
    tensors = draw(num_hashes)
    seen = oracle.seen(
        tensors[2], chunk_length=CHUNK, padding_mask=MASK, causal=causal
    )
    expected = expect(*tensors[:2], np.minimum(seen.sum(axis=0), 1))
    run = make(causal, differentiate=True, deduplicate=True)
    assert_all_close(run(*tensors, MASK), expected)
    if num_hashes in (2, 4):
        for jit_compile in (False, True):
            run = make(causal, differentiate=False, deduplicate=True)
            run = tf.function(run, jit_compile=jit_compile)
            assert_all_close(run(*tensors, MASK), expected)

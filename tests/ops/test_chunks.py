"""Tests of keras_xf.ops.chunks and keras_xf.ops.chunk_windows."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import attention
from keras_xf.ops import chunks
from keras_xf.ops.chunk_windows import ChunkWindows

BATCH, HEADS = 2, 3


def draw(length):
    generator = np.random.default_rng(0)
    return [
        tf.constant(generator.normal(size=(BATCH, length, HEADS, dim)))
        for dim in (5, 5, 4)
    ]


def near(length, size, before, after, is_ring):
    """How often a position sees another, counted chunk by chunk."""
    num_chunks = -(-length // size)
    counts = np.zeros((length, length), int)
    for query, key in np.ndindex(counts.shape):
        for offset in range(-before, after + 1):
            chunk = query // size + offset
            if is_ring:
                chunk %= num_chunks
            counts[query, key] += key // size == chunk
    return counts


def dense(query, key, value, counts):
    """Attention in float64, to be differentiated."""
    query, key, value = (
        tf.transpose(x, (0, 2, 1, 3)) for x in (query, key, value)
    )
    logits = tf.matmul(query, key, transpose_b=True)
    factors = tf.exp(logits) * counts[:, None]
    sums = tf.reduce_sum(factors, axis=-1, keepdims=True)
    weights = tf.math.divide_no_nan(factors, sums)
    return tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))


def with_gradients(function, tensors):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function(*tensors)
    upstream = np.random.default_rng(9).normal(size=outputs.shape)
    return outputs, *tape.gradient(outputs, tensors, tf.constant(upstream))


@pytest.mark.parametrize("wrap", [None, "rounds"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("length", "before", "after"),
    [(12, 1, 0), (11, 1, 1), (13, 0, 0), (9, 4, 3), (3, 1, 1), (1, 2, 2)],
)
def test_equals_dense_attention_to_what_is_near(
    length, before, after, causal, wrap
):
    mask = np.random.default_rng(1).random((BATCH, length)) < 0.7
    counts = near(length, 3, before, after, wrap == "rounds") * mask[:, None]
    counts = np.tril(counts) if causal else counts
    windows = ChunkWindows(3, before, after, wrap)

    def fast(query, key, value):
        return chunks.attend(
            query,
            key,
            value,
            windows=windows,
            padding_mask=mask,
            causal=causal,
        )[0]

    tensors = draw(length)
    # A query that sees nothing gives zeros, as in dense attention.
    for actual, expected in zip(
        with_gradients(fast, tensors),
        with_gradients(lambda *x: dense(*x, counts), tensors),
        strict=True,
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_two_chunks_are_dense_attention(causal):
    query, key, value = draw(8)
    outputs, _ = chunks.attend(
        query,
        key,
        value,
        windows=ChunkWindows(4, 1, 0 if causal else 1),
        causal=causal,
    )
    expected = attention.attend(
        np.swapaxes(query, 1, 2) * np.sqrt(5),
        np.swapaxes(key, 1, 2),
        np.swapaxes(value, 1, 2),
        causal=causal,
    )
    np.testing.assert_allclose(outputs, np.swapaxes(expected, 1, 2), atol=1e-12)


def test_an_empty_sequence_stays_empty():
    tensors = draw(0)
    for length in (0, None):
        function = tf.function(
            lambda *x: chunks.attend(*x, windows=ChunkWindows(4))[0],
            input_signature=[
                tf.TensorSpec((BATCH, length, *x.shape[2:]), x.dtype)
                for x in tensors
            ],
        )
        assert function(*tensors).shape == (BATCH, 0, HEADS, 4)


def seen_and_seeing(windows, num_chunks, num_rounds, num_real):
    """All pairs of chunks, by both of the windows' methods."""
    seen, seeing = [], []
    num_real = np.array([num_real], "int32")
    for number in range(num_rounds):
        chunk, exists = windows.seen(number, num_chunks, num_rounds, num_real)
        for own, slot in np.ndindex(num_chunks, windows.size):
            if exists[0, own, slot]:
                seen.append((number, own, slot, int(chunk[0, own, slot])))
        for turn in windows.turns(num_chunks):
            other = (number + turn) % num_rounds
            for slot in range(windows.size):
                chunk, exists = windows.seeing(slot, turn, num_chunks, num_real)
                for own in range(num_chunks):
                    if exists[0, own]:
                        place = other * num_chunks + own
                        seeing.append((number, int(chunk[0, own]), slot, place))
    return sorted(seen), sorted(seeing)


@pytest.mark.parametrize("wrap", [None, "row", "rounds"])
@pytest.mark.parametrize(
    ("num_chunks", "num_rounds", "num_real"),
    [(5, 1, 5), (5, 3, 3), (2, 2, 2), (1, 2, 1), (4, 1, 1)],
)
def test_what_is_seen_knows_what_sees_it(
    wrap, num_chunks, num_rounds, num_real
):
    for before, after in [(1, 0), (0, 0), (3, 2), (0, 4)]:
        windows = ChunkWindows(4, before, after, wrap)
        seen, seeing = seen_and_seeing(
            windows, num_chunks, num_rounds, num_real
        )
        assert seen == seeing
        # To clip leaves out what is not there or there twice, no more.
        if wrap != "rounds" and num_real == num_chunks:
            clipped = windows.clip(num_chunks)
            others, _ = seen_and_seeing(
                clipped, num_chunks, num_rounds, num_real
            )
            pairs = {(n, own, chunk) for n, own, _, chunk in seen}
            assert pairs == {(n, own, chunk) for n, own, _, chunk in others}
            assert clipped.chunks_before < num_chunks
            assert clipped.chunks_after < num_chunks
            assert wrap is None or clipped.size <= num_chunks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"chunk_length": 0},
            "`chunk_length` must be positive. Received: chunk_length=0.",
        ),
        (
            {"chunk_length": 4, "chunks_before": -1},
            "`chunks_before` must not be negative. Received: chunks_before=-1.",
        ),
        (
            {"chunk_length": 4, "chunks_after": -2},
            "`chunks_after` must not be negative. Received: chunks_after=-2.",
        ),
        (
            {"chunk_length": 4, "wrap": "all"},
            "`wrap` must be one of (None, 'row', 'rounds'). Received: "
            "wrap='all'.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        ChunkWindows(**arguments)
    assert str(error.value) == message

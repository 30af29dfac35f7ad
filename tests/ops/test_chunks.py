"""Tests of keras_xf.ops.chunks and keras_xf.ops.chunk_windows."""

import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import attention
from keras_xf.ops import chunk_lots
from keras_xf.ops import chunks
from keras_xf.ops import lsh
from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.target_platform import lowering_for

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
            if is_ring and abs(offset) < num_chunks:
                chunk %= num_chunks
            elif is_ring:
                # As in the references.
                chunk = query // size
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


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_graphs_and_compiled_programs_agree(causal, jit_compile):
    mask = np.random.default_rng(1).random((BATCH, 11)) < 0.7
    windows = ChunkWindows(3, 1, 0 if causal else 1, None)

    def step(query, key, value):
        return with_gradients(
            lambda *tensors: chunks.attend(
                *tensors, windows=windows, padding_mask=mask, causal=causal
            )[0],
            [query, key, value],
        )

    run = tf.function(step, jit_compile=jit_compile)
    for actual, expected in zip(run(*draw(11)), step(*draw(11)), strict=True):
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


LOTS = {
    # Positions a lot; chunks before, after, and the wrap; what else.
    "padded": (6, (1, 0, "row"), {}),
    "causal": (21, (2, 0, "row"), {"causal": True}),
    "after": (6, (1, 2, "row"), {"logit_scale": 0.5}),
    "no wrap": (6, (2, 1, None), {}),
    "ring": (6, (1, 1, "rounds"), {"causal": True}),
    "ring, once": (21, (0, 1, "rounds"), {"deduplicate": True}),
    "own bucket": (6, (1, 0, "row"), {"across_buckets": False}),
    "once": (3, (3, 0, "row"), {"deduplicate": True}),
}


@pytest.mark.parametrize("name", LOTS)
def test_lots_are_as_good_as_all_at_once(name, monkeypatch):
    lot_length, window, options = LOTS[name]
    generator = np.random.default_rng(3)
    _, query_key, value = draw(11)
    mask = np.arange(11) < np.c_[[11, 8]]
    mask[1, 3] = False
    buckets = generator.integers(0, 4, (BATCH, HEADS, 2, 11), dtype="int32")
    buckets = np.where(mask[:, None, None], buckets, 4).astype("int32")

    def attend(query_key, value):
        return lsh.attend(
            query_key,
            value,
            buckets,
            windows=ChunkWindows(3, *window),
            padding_mask=mask,
            **options,
        )

    def run(*tensors):
        return with_gradients(attend, tensors)

    with lowering_for("GPU"):
        expected = run(query_key, value)
    monkeypatch.setattr(chunk_lots, "LOT_LENGTH", lot_length)
    modes = [run]
    if name == "padded":
        modes += [
            tf.function(run, autograph=False, jit_compile=compiled)
            for compiled in (False, True)
        ]
    for function in modes:
        results = function(query_key, value)
        for actual, like in zip(results, expected, strict=True):
            np.testing.assert_allclose(actual, like, atol=1e-10)


@pytest.mark.parametrize("lot_length", [8, 32])
def test_each_chunk_drops_weights_of_its_own(lot_length, monkeypatch):
    # A chunk a lot, or half a row a lot.
    monkeypatch.setattr(chunk_lots, "LOT_LENGTH", lot_length)
    batch_size, length, num_heads, rounds, size = 2, 64, 3, 2, 8
    zeros = tf.zeros((batch_size, length, num_heads, 1))
    value = tf.tile(
        tf.eye(length)[None, :, None], (batch_size, 1, num_heads, 1)
    )

    orders = tf.tile(
        tf.range(length)[None, None, None], (batch_size, num_heads, rounds, 1)
    )
    outputs, _ = chunks.attend(
        zeros,
        zeros,
        value,
        orders,
        windows=ChunkWindows(size, 0),
        dropout=0.5,
        seed=tf.constant([1, 2]),
    )
    weights = np.reshape(outputs, (batch_size, 8, size, num_heads, 8, size))
    # Of each chunk, what it sees of itself.
    weights = weights[:, range(8), :, :, range(8)]
    # Half of each round's weights are kept, as twice what they were.
    assert set(np.unique(weights)) == {0, 1 / 8, 2 / 8}
    patterns = np.moveaxis(weights, 3, 2).reshape(-1, size * size)
    assert len(patterns) == batch_size * num_heads * 8
    # By chance two have the same pattern once in 10**26.
    assert len({pattern.tobytes() for pattern in patterns}) == len(patterns)


def test_eager_execution_keeps_no_weights(monkeypatch):
    kept = []
    drop = chunks._Weights.drop

    def watched(self, weights, *arguments, **options):
        kept.extend(map(weakref.ref, weights))
        return drop(self, weights, *arguments, **options)

    monkeypatch.setattr(chunks._Weights, "drop", watched)
    tensors = draw(12)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs, _ = chunks.attend(*tensors, windows=ChunkWindows(3))
    assert kept
    assert all(reference() is None for reference in kept)
    assert tape.gradient(outputs, tensors[0]) is not None


def shown(windows, num_chunks, num_rounds, num_real):
    """For each chunk of each round, in order, what its window shows."""
    num_real = np.array([num_real], "int32")
    for number in range(num_rounds):
        chunk, exists = windows.seen(number, num_chunks, num_rounds, num_real)
        for own in range(num_chunks):
            pairs = zip(chunk[0, own], exists[0, own], strict=True)
            yield [int(other) for other, is_there in pairs if is_there]


def expect_shown(windows, num_chunks, num_rounds, num_real):
    offsets = range(-windows.chunks_before, windows.chunks_after + 1)
    ring = num_chunks * num_rounds
    for number in range(num_rounds):
        for own in range(num_chunks):
            if windows.wrap == "rounds":
                chunk = number * num_chunks + own
                yield [
                    (chunk + (offset if abs(offset) < ring else 0)) % ring
                    for offset in offsets
                ]
                continue
            others = [own + offset for offset in offsets]
            if windows.wrap == "row":
                others = {other % num_real for other in others}
                others = others if own < num_real else []
            yield [
                number * num_chunks + other
                for other in others
                if 0 <= other < num_chunks
            ]


@pytest.mark.parametrize("wrap", [None, "row", "rounds"])
@pytest.mark.parametrize(
    ("num_chunks", "num_rounds", "num_real"),
    [(5, 1, 5), (5, 3, 3), (2, 2, 2), (1, 2, 1), (4, 1, 1)],
)
def test_windows_show_what_is_near(wrap, num_chunks, num_rounds, num_real):
    sizes = num_chunks, num_rounds, num_real
    for before, after in [(1, 0), (0, 0), (3, 2), (0, 4), (7, 6)]:
        windows = ChunkWindows(4, before, after, wrap)
        expected = [sorted(x) for x in expect_shown(windows, *sizes)]
        assert [sorted(x) for x in shown(windows, *sizes)] == expected
        # A chunk's own place is its own.
        chunk, exists = windows.seen(
            0, num_chunks, num_rounds, np.array([num_real], "int32")
        )
        own = np.arange(num_real)
        np.testing.assert_array_equal(chunk[0, :num_real, before], own)
        assert np.all(exists[0, :num_real, before])
        # To clip leaves out what is not there or there twice, no more.
        clipped = windows.clip(num_chunks)
        if wrap != "rounds" and num_real == num_chunks:
            assert [sorted(x) for x in shown(clipped, *sizes)] == expected
            assert clipped.chunks_before < num_chunks
            assert clipped.chunks_after < num_chunks
            assert wrap is None or clipped.size <= num_chunks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"value": tf.zeros((2, 7, 3, 4))},
            "`value` must go with `query`. Received: value=(2, 7, 3, 4), "
            "query=(2, 8, 3, 5).",
        ),
        (
            {"key": tf.zeros((2, 8, 3, 6))},
            "`key` must go with `query`. Received: key=(2, 8, 3, 6), "
            "query=(2, 8, 3, 5).",
        ),
        (
            {"orders": tf.zeros((2, 3, 1, 9), "int32")},
            "`orders` must go with `query`. Received: orders=(2, 3, 1, 9), "
            "query=(2, 8, 3, 5).",
        ),
        (
            {"padding_mask": tf.ones((2, 9), "bool")},
            "`padding_mask` must go with `query`. Received: padding_mask="
            "(2, 9), query=(2, 8, 3, 5).",
        ),
        (
            {"value": tf.zeros((2, 8, 3, 4), "float16")},
            "`query`, `key` and `value` must be of one dtype. Received: "
            "query=tf.float32, value=tf.float16.",
        ),
        (
            {"dropout": 0.5},
            "`seed` must be given if there is `dropout`. Received: "
            "dropout=0.5, seed=None.",
        ),
    ],
)
def test_rejects_what_does_not_go_together(arguments, message):
    tensors = {
        "query": tf.zeros((2, 8, 3, 5)),
        "key": tf.zeros((2, 8, 3, 5)),
        "value": tf.zeros((2, 8, 3, 4)),
    }
    with pytest.raises(ValueError) as error:
        chunks.attend(**tensors | arguments, windows=ChunkWindows(4))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"chunk_length": 4.0},
            "`chunk_length` must be an integer. Received: chunk_length=4.0.",
        ),
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

"""Tests of keras_xf.ops.lsh."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import lsh
from keras_xf.ops.chunk_windows import ChunkWindows
from tests.oracles import lsh as oracle

BATCH, HEADS, KEY_DIM, VALUE_DIM = 2, 2, 5, 3
CAUSAL_AND_NOT = pytest.mark.parametrize("causal", [False, True])


def draw(length, num_hashes, num_buckets=6, padding_mask=None, seed=0):
    generator = np.random.default_rng(seed)
    query_key = generator.normal(size=(BATCH, length, HEADS, KEY_DIM))
    value = generator.normal(size=(BATCH, length, HEADS, VALUE_DIM))
    shape = (BATCH, HEADS, num_hashes, length)
    buckets = generator.integers(0, num_buckets, shape, dtype="int32")
    if padding_mask is not None:
        real = padding_mask[:, None, None]
        buckets = np.where(real, buckets, num_buckets).astype("int32")
    return query_key, value, buckets


def padding(kind, length):
    place = np.arange(length)
    mask = np.ones((BATCH, length), bool)
    mask[0] = {
        "left": place >= 5,
        "right": place < length - 6,
        "middle": (place < 4) | (place > 9),
        "scattered": place % 3 > 0,
    }[kind]
    return mask


def dense(query_key, value, counts, logit_scale=1.0):
    """Dense attention in float64, to be differentiated."""
    query = tf.transpose(query_key, (0, 2, 1, 3))
    square = tf.reduce_mean(query**2, axis=-1, keepdims=True)
    key = query / tf.sqrt(square + 1e-6) / np.sqrt(KEY_DIM)
    logits = logit_scale * tf.matmul(query, key, transpose_b=True)
    logits = tf.where(np.eye(counts.shape[-1], dtype=bool), -1e5, logits)
    logits += np.log(np.maximum(counts, 1))
    logits = tf.where(counts > 0, logits, -1e9)
    weights = tf.nn.softmax(logits)
    outputs = tf.matmul(weights, tf.transpose(value, (0, 2, 1, 3)))
    return tf.transpose(outputs, (0, 2, 1, 3))


def with_gradients(function, query_key, value, real=None):
    """Outputs and gradients; those of what is not real do not count."""
    upstream = np.random.default_rng(9).normal(
        size=(*query_key.shape[:3], VALUE_DIM)
    )
    if real is not None:
        upstream *= real[:, :, None, None]
    query_key, value = tf.constant(query_key), tf.constant(value)
    with tf.GradientTape() as tape:
        tape.watch([query_key, value])
        outputs = function(query_key, value)
    gradients = tape.gradient(
        outputs, [query_key, value], tf.cast(upstream, outputs.dtype)
    )
    if real is not None:
        outputs *= tf.cast(real[:, :, None, None], outputs.dtype)
    return outputs, *gradients


def assert_all_close(actual, expected, **tolerances):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, **tolerances)


CASES = {
    "one round": (24, 1, {}, {}, None),
    "two rounds, causal": (24, 2, {}, {"causal": True}, None),
    "four rounds, odd length": (23, 4, {}, {"causal": True}, None),
    "eight rounds": (19, 8, {}, {}, None),
    "left padding": (23, 2, {}, {"causal": True}, "left"),
    "right padding": (24, 4, {}, {}, "right"),
    "middle padding": (23, 1, {}, {"causal": True}, "middle"),
    "scattered padding": (21, 2, {"chunks_after": 1}, {}, "scattered"),
    "wide windows": (11, 2, {"chunks_before": 3}, {"causal": True}, "middle"),
    "both sides": (26, 2, {"chunks_before": 2, "chunks_after": 1}, {}, None),
    "no neighbors": (22, 4, {"chunks_before": 0}, {}, "right"),
    "ring": (24, 4, {"wrap": "rounds"}, {"causal": True}, "middle"),
    "ring of one": (23, 1, {"wrap": "rounds"}, {}, "left"),
    "wide ring": (
        11,
        2,
        {"wrap": "rounds", "chunks_before": 4, "chunks_after": 3},
        {},
        "right",
    ),
    "wider than the ring": (
        11,
        2,
        {"wrap": "rounds", "chunks_before": 8, "chunks_after": 6},
        {},
        "right",
    ),
    "scaled": (23, 2, {}, {"logit_scale": 0.4}, None),
    "own bucket": (23, 2, {}, {"across_buckets": False}, "middle"),
    "own bucket in a ring": (
        23,
        2,
        {"wrap": "rounds"},
        {"across_buckets": False, "causal": True},
        None,
    ),
    "own bucket, short": (4, 2, {}, {"across_buckets": False}, None),
    "each once": (23, 4, {}, {"deduplicate": True}, "right"),
    "each once in a ring": (
        13,
        2,
        {"wrap": "rounds", "chunks_before": 2, "chunks_after": 1},
        {"deduplicate": True, "causal": True},
        None,
    ),
    "each once of the own bucket": (
        23,
        4,
        {},
        {"deduplicate": True, "across_buckets": False},
        "left",
    ),
    "short": (4, 4, {}, {"causal": True}, None),
    "shorter": (3, 2, {"wrap": "rounds"}, {}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_dense_attention_to_what_is_seen(case):
    length, num_hashes, windows, options, kind = CASES[case]
    mask = None if kind is None else padding(kind, length)
    query_key, value, buckets = draw(length, num_hashes, padding_mask=mask)
    windows = {"chunk_length": 4, "wrap": "row", **windows}
    options = {"causal": False, **options}
    counts = oracle.seen(
        buckets,
        **windows,
        padding_mask=mask,
        causal=options["causal"],
        across_buckets=options.get("across_buckets", True),
    )
    if length <= 4 and options.get("across_buckets", True):
        counts = counts[:1]
    share = 1
    if windows["wrap"] == "rounds" and length > 4:
        share = oracle.reference_share(counts)[..., None]
    counts = counts.sum(axis=0)
    if options.get("deduplicate"):
        counts = np.minimum(counts, 1)
    scale = options.get("logit_scale", 1.0)
    real = np.ones((BATCH, length), bool) if mask is None else mask

    def plain(query_key, value):
        return share * dense(query_key, value, counts, scale)

    def fast(query_key, value):
        return lsh.attend(
            query_key,
            value,
            buckets,
            windows=ChunkWindows(**windows),
            padding_mask=mask,
            **options,
        )

    expected = with_gradients(plain, query_key, value, real)
    by_hand = oracle.attend(query_key, value, counts, scale)
    np.testing.assert_allclose(
        expected[0], share * by_hand * real[:, :, None, None], atol=1e-9
    )
    # The references' share is float32's.
    tolerance = 1e-6 if windows["wrap"] == "rounds" else 1e-10
    actual = with_gradients(fast, query_key, value, real)
    assert_all_close(actual, expected, atol=tolerance)


@pytest.mark.parametrize("num_hashes", [1, 2, 4, 8])
def test_eager_graph_and_compiled_agree(num_hashes):
    mask = padding("scattered", 23)
    query_key, value, buckets = draw(23, num_hashes, padding_mask=mask)

    def attend(query_key, value):
        return lsh.attend(
            query_key,
            value,
            buckets,
            windows=ChunkWindows(4, wrap="row"),
            padding_mask=mask,
            causal=True,
            dropout=0.4,
            seed=tf.constant([5, 6]),
        )

    def run():
        return with_gradients(attend, query_key, value)

    eager = run()
    for jit_compile in (False, True):
        compiled = tf.function(run, autograph=False, jit_compile=jit_compile)
        assert_all_close(compiled(), eager, atol=1e-12)


@CAUSAL_AND_NOT
def test_open_sizes_give_the_same(causal):
    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, HEADS, KEY_DIM), "float64"),
            tf.TensorSpec((None, None, HEADS, VALUE_DIM), "float64"),
            tf.TensorSpec((None, HEADS, 2, None), "int32"),
            tf.TensorSpec((None, None), "bool"),
        ]
    )
    def open_(query_key, value, buckets, mask):
        return with_gradients_of_ones(query_key, value, buckets, mask)

    def with_gradients_of_ones(query_key, value, buckets, mask):
        with tf.GradientTape() as tape:
            tape.watch([query_key, value])
            outputs = lsh.attend(
                query_key,
                value,
                buckets,
                windows=ChunkWindows(4, 2, 0 if causal else 1, wrap="row"),
                padding_mask=mask,
                causal=causal,
            )
            loss = tf.reduce_sum(outputs**2)
        return outputs, *tape.gradient(loss, [query_key, value])

    for length in (1, 4, 7, 13, 32):
        mask = np.arange(length) < np.array([[length], [(length + 1) // 2]])
        tensors = draw(length, 2, padding_mask=mask)
        tensors = [tf.constant(x) for x in (*tensors, mask)]
        assert_all_close(
            open_(*tensors), with_gradients_of_ones(*tensors), atol=1e-12
        )


@CAUSAL_AND_NOT
@pytest.mark.parametrize(
    ("length", "num_hashes"), [(8, 1), (8, 4), (4, 1), (4, 8), (2, 2)]
)
def test_short_sequences_get_dense_attention(length, num_hashes, causal):
    query_key, value, buckets = draw(length, num_hashes)
    counts = np.ones((BATCH, HEADS, length, length), int)
    counts = np.tril(counts) if causal else counts
    for wrap in ("row", "rounds"):
        if wrap == "rounds" and length > 4 and num_hashes > 1:
            continue  # There the rounds' first chunks see each other's last.
        outputs = lsh.attend(
            query_key,
            value,
            buckets,
            windows=ChunkWindows(4, wrap=wrap),
            causal=causal,
        )
        np.testing.assert_allclose(
            outputs, dense(query_key, value, counts), atol=1e-12
        )


@CAUSAL_AND_NOT
def test_equal_buckets_give_local_attention(causal):
    query_key, value, buckets = draw(22, 2)
    place = np.arange(22) // 4
    near = place[:, None] - place
    # The first chunk looks around the row's end.
    counts = (near == 0) | (near == 1) | (near == -5)
    if causal:
        counts = np.tril(counts)
    counts = np.broadcast_to(counts, (BATCH, HEADS, 22, 22))
    outputs = lsh.attend(
        query_key,
        value,
        np.zeros_like(buckets),
        windows=ChunkWindows(4, wrap="row"),
        causal=causal,
    )
    np.testing.assert_allclose(
        outputs, dense(query_key, value, counts), atol=1e-12
    )


def test_rounds_that_repeat_one_change_nothing():
    query_key, value, buckets = draw(22, 1)
    attend = functools.partial(lsh.attend, windows=ChunkWindows(4, wrap="row"))
    np.testing.assert_allclose(
        attend(query_key, value, np.repeat(buckets, 4, axis=2)),
        attend(query_key, value, buckets),
        atol=1e-12,
    )


def test_rows_do_not_know_each_other():
    query_key, value, buckets = draw(22, 2)
    attend = functools.partial(
        lsh.attend, windows=ChunkWindows(4, wrap="row"), causal=True
    )
    both = attend(query_key, value, buckets)
    np.testing.assert_array_equal(
        attend(query_key[::-1], value[::-1], buckets[::-1])[::-1], both
    )


@pytest.mark.parametrize("kind", ["left", "right", "middle", "scattered"])
def test_what_is_padded_does_not_matter(kind):
    mask = padding(kind, 23)
    query_key, value, buckets = draw(23, 2, padding_mask=mask)
    attend = functools.partial(lsh.attend, windows=ChunkWindows(4, wrap="row"))
    outputs = np.asarray(attend(query_key, value, buckets, padding_mask=mask))
    assert np.all(np.isfinite(outputs))
    # Neither what it is, nor that it is there.
    unreal = ~mask[:, :, None, None]
    others = attend(
        np.where(unreal, 1e3, query_key),
        np.where(unreal, -1e3, value),
        buckets,
        padding_mask=mask,
    )
    for row in range(BATCH):
        real = mask[row]
        alone = attend(
            query_key[row : row + 1, real],
            value[row : row + 1, real],
            buckets[row : row + 1, :, :, real],
        )
        np.testing.assert_allclose(outputs[row, real], alone[0], atol=1e-12)
        np.testing.assert_array_equal(outputs[row, real], others[row][real])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("num_hashes", [1, 3, 8])
def test_the_first_position_gets_its_own_value_exactly(dtype, num_hashes):
    query_key, value, buckets = draw(23, num_hashes)
    value = tf.cast(value, dtype)
    outputs = lsh.attend(
        tf.cast(query_key, dtype),
        value,
        buckets,
        windows=ChunkWindows(4, wrap="row"),
        causal=True,
    )
    np.testing.assert_array_equal(outputs[:, 0], value[:, 0])


def test_with_fixed_buckets_no_later_value_is_let_in():
    query_key, value, buckets = draw(23, 4)
    attend = functools.partial(
        lsh.attend,
        buckets=buckets,
        windows=ChunkWindows(4, wrap="row"),
        causal=True,
    )
    outputs = np.asarray(attend(query_key, value))
    query_key[:, 15:] += 1
    value[:, 15:] -= 1
    others = np.asarray(attend(query_key, value))
    np.testing.assert_array_equal(others[:, :15], outputs[:, :15])
    assert np.all(others[:, 15:] != outputs[:, 15:])


def test_dropout_keeps_the_mean_and_has_the_gradient_of_what_it_kept():
    query_key, value, buckets = draw(22, 2)
    value = np.broadcast_to(np.eye(22)[None, :, None], (BATCH, 22, HEADS, 22))
    attend = functools.partial(
        lsh.attend,
        buckets=buckets,
        windows=ChunkWindows(4, wrap="row"),
        dropout=0.25,
    )
    # Of values that tell positions apart, outputs are the weights.
    draw_many = tf.function(
        lambda seeds: tf.map_fn(
            lambda seed: attend(query_key, value, seed=seed),
            seeds,
            fn_output_signature="float64",
        )
    )
    draws = draw_many(
        np.stack([np.arange(200), np.ones(200)], 1).astype("int32")
    )
    plain = np.asarray(attend(query_key, value, dropout=0.0))
    np.testing.assert_allclose(np.mean(draws, axis=0), plain, atol=0.2)
    assert abs(np.mean(draws) / np.mean(plain) - 1) < 0.01
    # Central differences, of the very same draw.
    direction = np.random.default_rng(3).normal(size=query_key.shape)

    def loss(query_key):
        outputs = attend(query_key, value, seed=tf.constant([7, 8]))
        return tf.reduce_sum(outputs * upstream)

    upstream = np.random.default_rng(4).normal(size=value.shape)
    point = tf.constant(query_key)
    with tf.GradientTape() as tape:
        tape.watch(point)
        total = loss(point)
    slope = tf.reduce_sum(tape.gradient(total, point) * direction)
    step = 1e-6 * direction
    difference = (loss(point + step) - loss(point - step)) / 2e-6
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_more_rounds_come_closer_to_dense_attention():
    query_key, value, _ = draw(64, 1)
    rotations = np.random.default_rng(5).normal(size=(HEADS, KEY_DIM, 16, 8))
    buckets = oracle.buckets(query_key, rotations, (16,))
    counts = np.ones((BATCH, HEADS, 64, 64), int)
    expected = dense(query_key, value, counts)
    errors = [
        np.mean(
            np.abs(
                lsh.attend(
                    query_key,
                    value,
                    buckets[:, :, :num_hashes].astype("int32"),
                    windows=ChunkWindows(4, wrap="row"),
                    deduplicate=True,
                )
                - expected
            )
        )
        for num_hashes in (1, 4, 16)
    ]
    assert errors[0] > 1.2 * errors[1] > 1.2**2 * errors[2]


def test_half_precision_attends_as_well_as_it_can_count():
    query_key, value, buckets = draw(40, 4)
    attend = functools.partial(
        lsh.attend,
        buckets=buckets,
        windows=ChunkWindows(4, wrap="row"),
        causal=True,
    )
    expected = with_gradients(attend, query_key, value)
    for dtype, tolerance in (("float16", 0.02), ("bfloat16", 0.15)):
        actual = with_gradients(
            attend, tf.cast(query_key, dtype), tf.cast(value, dtype)
        )
        assert all(x.dtype == dtype for x in actual)
        assert_all_close(
            [tf.cast(x, "float64") for x in actual], expected, atol=tolerance
        )

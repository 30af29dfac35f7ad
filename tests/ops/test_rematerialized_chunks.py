"""Tests of keras_xf.ops.rematerialized_chunks."""

import re
import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import rematerialized_chunks
from keras_xf.ops import stateless_random

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": lambda function: tf.function(function, jit_compile=True),
}
BATCH_SIZE, LENGTH, DIM, WIDTH = 2, 7, 3, 5
SEED = np.array([3, 4], "int32")


def network(rows, weights, seed):
    """Bends and, with a seed, drops; like no feed-forward layer of ours."""
    kernel, other = weights
    hidden = tf.tanh(rows @ kernel)
    if seed is not None:
        kept = stateless_random.keep(seed, tf.shape(hidden), 0.5)
        hidden = tf.where(kept, hidden, tf.zeros_like(hidden))
    return hidden @ other + rows


def chunk_by_chunk(function, inputs, weights, chunk_length, seed=None):
    """The same, written out, for plain differentiation."""
    batch_size, length, dim = inputs.shape
    rows = tf.reshape(inputs, (-1, dim))
    outputs = []
    for index, start in enumerate(range(0, length, chunk_length)):
        end = min(start + chunk_length, length)
        chunk_seed = seed
        if seed is not None:
            chunk_seed = stateless_random.fold_in(seed, index)
        outputs.append(
            function(
                rows[start * batch_size : end * batch_size],
                weights,
                chunk_seed,
            )
        )
    return tf.reshape(tf.concat(outputs, axis=0), inputs.shape)


def draw(*shape, dtype="float64"):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def differentiate(function, upstream, *sources):
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = function(*sources)
    return [outputs, *tape.gradient(outputs, sources, upstream)]


def assert_all_close(actual, expected, **tolerances):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, **tolerances)


@pytest.mark.parametrize(
    ("mode", "chunk_length"),
    [
        *(("eager", chunk_length) for chunk_length in (1, 2, 3, 6, 7, 50)),
        ("graph", 3),
        ("compiled", 3),
    ],
)
@pytest.mark.parametrize("seed", [None, SEED], ids=["still", "random"])
def test_values_and_gradients_are_those_of_the_chunks(mode, seed, chunk_length):
    sources = [
        tf.constant(draw(*shape))
        for shape in ((BATCH_SIZE, LENGTH, DIM), (DIM, WIDTH), (WIDTH, DIM))
    ]
    upstream = draw(BATCH_SIZE, LENGTH, DIM) ** 2

    def chunked(inputs, *weights):
        return rematerialized_chunks.map_chunks(
            network, inputs, weights, chunk_length=chunk_length, seed=seed
        )

    def plain(inputs, *weights):
        return chunk_by_chunk(network, inputs, weights, chunk_length, seed)

    actual = MODES[mode](differentiate)(chunked, upstream, *sources)
    expected = differentiate(plain, upstream, *sources)
    assert_all_close(actual, expected, atol=1e-12)
    if seed is not None:
        return
    whole = differentiate(
        lambda inputs, *weights: (
            tf.einsum(
                "blw,wd->bld",
                tf.tanh(tf.einsum("bld,dw->blw", inputs, weights[0])),
                weights[1],
            )
            + inputs
        ),
        upstream,
        *sources,
    )
    assert_all_close(actual, whole, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "jit_compile"),
    [
        ((None, None, DIM), False),
        ((None, None, DIM), True),
        ((None, LENGTH, DIM), False),
        ((BATCH_SIZE, None, DIM), False),
    ],
)
def test_open_sizes(shape, jit_compile):
    weights = [tf.constant(draw(DIM, WIDTH)), tf.constant(draw(WIDTH, DIM))]

    @tf.function(
        input_signature=[tf.TensorSpec(shape, "float64")] * 2,
        jit_compile=jit_compile,
    )
    def function(inputs, upstream):
        return differentiate(
            lambda inputs, *weights: rematerialized_chunks.map_chunks(
                network, inputs, weights, chunk_length=3
            ),
            upstream,
            inputs,
            *weights,
        )

    lengths = (LENGTH,) if shape[1] else (1, 3, 6, LENGTH)
    # Each is compiled anew.
    for length in lengths[::2] if jit_compile else lengths:
        inputs = draw(BATCH_SIZE, length, DIM)
        upstream = draw(BATCH_SIZE, length, DIM) ** 2
        expected = differentiate(
            lambda inputs, *weights: chunk_by_chunk(
                network, inputs, weights, 3
            ),
            upstream,
            tf.constant(inputs),
            *weights,
        )
        assert_all_close(function(inputs, upstream), expected, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_of_nothing_it_makes_nothing(jit_compile):
    weights = [tf.constant(draw(DIM, WIDTH)), tf.constant(draw(WIDTH, DIM))]

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, DIM), "float64")],
        jit_compile=jit_compile,
    )
    def function(inputs):
        return differentiate(
            lambda inputs, *weights: rematerialized_chunks.map_chunks(
                network, inputs, weights, chunk_length=3
            ),
            inputs,
            inputs,
            *weights,
        )

    for batch_size, length in ((2, 0), (0, 7), (0, 0)):
        nothing = np.zeros((batch_size, length, DIM))
        outputs, gradient, *of_weights = function(nothing)
        assert outputs.shape == gradient.shape == nothing.shape
        assert not any(np.any(x) for x in of_weights)


def test_eager_execution_keeps_nothing_of_a_chunk():
    kept = []

    def watched(rows, weights, seed):
        hidden = tf.tanh(rows @ weights[0])
        kept.append(weakref.ref(hidden))
        return hidden @ weights[1]

    sources = [
        tf.constant(draw(*shape))
        for shape in ((BATCH_SIZE, LENGTH, DIM), (DIM, WIDTH), (WIDTH, DIM))
    ]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = rematerialized_chunks.map_chunks(
            watched, sources[0], sources[1:], chunk_length=3
        )
    assert len(kept) == 3
    assert all(reference() is None for reference in kept)
    assert tape.gradient(outputs, sources[1]) is not None


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_it_works_inside_another_custom_gradient(mode):
    """As inside a reversible stack: computed again, under a tape of its own."""
    sources = [
        tf.constant(draw(*shape))
        for shape in ((BATCH_SIZE, LENGTH, DIM), (DIM, WIDTH), (WIDTH, DIM))
    ]
    upstream = draw(BATCH_SIZE, LENGTH, DIM) ** 2

    def apply(inputs, *weights):
        return rematerialized_chunks.map_chunks(
            network, inputs, weights, chunk_length=3, seed=SEED
        )

    @tf.custom_gradient
    def wrapped(*sources):
        def gradient(upstream):
            with tf.GradientTape() as tape:
                tape.watch(sources)
                outputs = apply(*sources)
            return tape.gradient(outputs, sources, upstream)

        return apply(*sources), gradient

    def twice(*sources):
        outputs = wrapped(*sources)
        return wrapped(outputs, *sources[1:])

    def plain(inputs, *weights):
        outputs = chunk_by_chunk(network, inputs, weights, 3, SEED)
        return chunk_by_chunk(network, outputs, weights, 3, SEED)

    assert_all_close(
        MODES[mode](differentiate)(twice, upstream, *sources),
        differentiate(plain, upstream, *sources),
        atol=1e-12,
    )


def test_gradients_of_weights_are_added_up_in_their_own_precision():
    def function(rows, weights, seed):
        return rows + tf.cast(weights[0], rows.dtype)

    inputs = tf.zeros((1, 300, 1), "bfloat16")
    bias = tf.zeros(1)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        outputs = rematerialized_chunks.map_chunks(
            function, inputs, [bias], chunk_length=1
        )
    # A sum of ones in bfloat16 does not get past 256.
    assert tape.gradient(outputs, bias) == 300


def largest_value(function, *arguments):
    """Number of elements of the largest array in the compiled program."""
    text = tf.function(function, jit_compile=True).experimental_get_compiler_ir(
        *arguments
    )(stage="optimized_hlo")
    return max(
        np.prod([int(size) for size in sizes.split(",")])
        for sizes in re.findall(r"f32\[([\d,]+)\]", text)
    )


@pytest.mark.parametrize("length", [64, 70])
def test_no_more_than_a_chunk_is_there_at_a_time(length):
    width, chunk_length = 1000, 8
    sources = [
        tf.constant(draw(*shape, dtype="float32"))
        for shape in ((2, length, 4), (4, width), (width, 4))
    ]
    upstream = draw(2, length, 4, dtype="float32")

    def step(chunk_length):
        return lambda *sources: differentiate(
            lambda inputs, *weights: rematerialized_chunks.map_chunks(
                network, inputs, weights, chunk_length=chunk_length, seed=SEED
            ),
            upstream,
            *sources,
        )

    assert largest_value(step(chunk_length), *sources) == (
        2 * chunk_length * width
    )
    if length == 64:
        # In one chunk, to see that it would be noticed.
        assert largest_value(step(length), *sources) == 2 * length * width

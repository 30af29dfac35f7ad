"""Tests of keras_xf.ops.chosen_cross_entropy and of chosen_rows."""

import re

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops.chosen_cross_entropy import chosen_cross_entropy
from keras_xf.ops.chosen_rows import ChosenRows

ROWS, ENTRIES, DIM = 11, 7, 3
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": lambda function: tf.function(function, jit_compile=True),
}
CHOSEN = {
    "none": np.zeros(ROWS, bool),
    "one": np.arange(ROWS) == 4,
    "some": np.arange(ROWS) % 3 != 1,
    "all": np.ones(ROWS, bool),
}


def draw(*shape, dtype="float64"):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


IDS = np.random.default_rng(5).integers(0, ENTRIES, ROWS)
UPSTREAM = draw(ROWS) ** 2
SOURCES = [tf.constant(draw(ROWS, DIM)), tf.constant(draw(ENTRIES, DIM))]


def plain(queries, table, ids, chosen):
    """The same of all rows, for plain differentiation."""
    log_probs = tf.nn.log_softmax(queries @ tf.transpose(table))
    return -tf.gather(log_probs, ids, batch_dims=1) * tf.cast(
        chosen, log_probs.dtype
    )


def differentiate(function, sources, *arguments, upstream=UPSTREAM):
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = function(*sources, *arguments)
    return [outputs, *tape.gradient(outputs, sources, upstream)]


def assert_all_close(actual, expected, **tolerances):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, **tolerances)


@pytest.mark.parametrize(
    ("mode", "block_length"),
    [
        *(("eager", length) for length in (1, 2, 4, ROWS, 50)),
        ("graph", 4),
        ("compiled", 4),
    ],
)
@pytest.mark.parametrize("chosen", sorted(CHOSEN))
def test_values_and_gradients_are_those_of_all_rows(mode, block_length, chosen):
    chosen = CHOSEN[chosen]
    actual = MODES[mode](
        lambda sources: differentiate(
            lambda *arguments: chosen_cross_entropy(
                *arguments, block_length=block_length
            ),
            sources,
            IDS,
            chosen,
        )
    )(SOURCES)
    expected = differentiate(plain, SOURCES, IDS, chosen)
    assert_all_close(actual, expected, atol=1e-12)


def test_gradients_equal_central_differences():
    chosen, epsilon = CHOSEN["some"], 1e-6
    _, *gradients = differentiate(
        lambda *arguments: chosen_cross_entropy(*arguments, block_length=4),
        SOURCES,
        IDS,
        chosen,
    )
    for place, gradient in enumerate(gradients):
        direction = draw(*gradient.shape)
        values = []
        for sign in (1, -1):
            moved = list(SOURCES)
            moved[place] += sign * epsilon * direction
            outputs = chosen_cross_entropy(*moved, IDS, chosen)
            values.append(np.sum(outputs * UPSTREAM))
        np.testing.assert_allclose(
            np.sum(gradient * direction),
            (values[0] - values[1]) / (2 * epsilon),
            rtol=1e-7,
        )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_open_sizes(jit_compile):
    @tf.function(
        input_signature=[
            tf.TensorSpec((None, DIM), "float64"),
            tf.TensorSpec((None,), "int64"),
            tf.TensorSpec((None,), "bool"),
            tf.TensorSpec((None,), "float64"),
        ],
        jit_compile=jit_compile,
    )
    def function(queries, ids, chosen, upstream):
        return differentiate(
            lambda *arguments: chosen_cross_entropy(*arguments, block_length=4),
            [queries, SOURCES[1]],
            ids,
            chosen,
            upstream=upstream,
        )

    # Each is compiled anew.
    for number in (3, ROWS) if jit_compile else (0, 1, 4, 5, ROWS):
        arguments = (IDS[:number], CHOSEN["some"][:number])
        sources = [SOURCES[0][:number], SOURCES[1]]
        upstream = UPSTREAM[:number]
        assert_all_close(
            function(sources[0], *arguments, upstream),
            differentiate(plain, sources, *arguments, upstream=upstream),
            atol=1e-12,
        )


@pytest.mark.parametrize("mode", sorted(MODES))
def test_what_is_not_chosen_may_hold_anything(mode):
    chosen = CHOSEN["one"]
    upstream = np.where(chosen, 1.0, np.inf).astype("float32")
    queries = draw(ROWS, DIM) * np.where(chosen, 1, 1e4)[:, None]
    outputs = MODES[mode](
        lambda sources: differentiate(
            chosen_cross_entropy, sources, IDS, chosen, upstream=upstream
        )
    )(
        [
            tf.constant(array.astype("float32"))
            for array in (queries, draw(ENTRIES, DIM))
        ]
    )
    assert all(np.all(np.isfinite(output)) for output in outputs)
    assert not np.any(outputs[1].numpy()[~chosen])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single(dtype):
    halves = [tf.cast(source, dtype) for source in SOURCES]
    singles = [tf.cast(half, "float32") for half in halves]
    upstream = UPSTREAM.astype("float32")
    arguments = (IDS, CHOSEN["some"])
    actual = differentiate(
        chosen_cross_entropy, halves, *arguments, upstream=upstream
    )
    expected = differentiate(
        chosen_cross_entropy, singles, *arguments, upstream=upstream
    )
    np.testing.assert_array_equal(actual[0], expected[0])
    for a, e in zip(actual[1:], expected[1:], strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, tf.cast(e, dtype))


def test_a_sure_likelihood_is_not_above_one():
    queries = draw(ROWS, DIM, dtype="float32")
    table = np.zeros((ENTRIES, DIM), "float32")
    table[3] = 30 * queries[0]
    for row in range(ROWS):
        outputs = chosen_cross_entropy(
            queries[row : row + 1] * 10, table, [3], [True]
        )
        assert np.all(outputs >= 0)


def test_second_gradients_are_refused():
    with tf.GradientTape() as tape:
        tape.watch(SOURCES)
        _, gradient, _ = differentiate(
            chosen_cross_entropy, SOURCES, IDS, CHOSEN["some"]
        )
    with pytest.raises(LookupError) as error:
        tape.gradient(gradient, SOURCES)
    assert str(error.value) == (
        "negative log-likelihoods of an adaptive softmax have no second "
        "gradients; its log-probabilities have."
    )


def largest_value(function, *arguments):
    """Number of elements of the largest array in the compiled program."""
    text = tf.function(function, jit_compile=True).experimental_get_compiler_ir(
        *arguments
    )(stage="optimized_hlo")
    return max(
        np.prod([int(size) for size in sizes.split(",")])
        for sizes in re.findall(r"f32\[([\d,]+)\]", text)
    )


def test_no_logits_but_those_of_a_block_are_there_at_a_time():
    num_rows, num_entries = 96, 1000
    sources = [
        tf.constant(draw(num_rows, DIM, dtype="float32")),
        tf.constant(draw(num_entries, DIM, dtype="float32")),
    ]
    ids = np.zeros(num_rows, "int32")
    chosen = np.ones(num_rows, bool)
    upstream = np.ones(num_rows, "float32")

    def step(function):
        return lambda *sources: differentiate(
            function, list(sources), ids, chosen, upstream=upstream
        )

    def in_blocks(*arguments):
        return chosen_cross_entropy(*arguments, block_length=8)

    assert largest_value(step(in_blocks), *sources) == 8 * num_entries
    # To see that it would be noticed.
    assert largest_value(step(plain), *sources) == num_rows * num_entries


@pytest.mark.parametrize(
    ("num_chosen", "rounds"), [(0, 0), (1, 1), (4, 1), (5, 2), (ROWS, 3)]
)
def test_there_are_as_many_rounds_as_it_takes(num_chosen, rounds):
    chosen = np.random.default_rng(num_chosen).permutation(ROWS) < num_chosen
    numbers = np.arange(ROWS, dtype="int32") + 1

    def step(take, is_chosen, totals):
        block = take(numbers)
        chosen_here = tf.where(is_chosen, block, 0)
        return [block * 10], [
            totals[0] + 1,
            totals[1] + tf.reduce_sum(chosen_here),
        ]

    (outputs,), (count, total) = ChosenRows(tf.constant(chosen), 4).loop(
        step, [((), tf.int32)], [0, 0], after=tf.zeros(1)
    )
    assert count == rounds
    assert total == np.sum(numbers[chosen])
    np.testing.assert_array_equal(outputs, np.where(chosen, numbers * 10, 0))


def test_rejects_blocks_of_nothing():
    with pytest.raises(ValueError) as error:
        chosen_cross_entropy(*SOURCES, IDS, CHOSEN["all"], block_length=0)
    assert str(error.value) == (
        "`block_length` must be positive. Received: block_length=0."
    )

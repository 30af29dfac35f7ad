"""Tests of keras_xf.ops.reversible."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import reversible
from keras_xf.ops import stateless_random
from keras_xf.ops.reversible import Branch

DIM, DEPTH, RATE = 6, 2, 0.3
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": lambda function: tf.function(function, jit_compile=True),
}


def bent(x, weights, state, record):
    """Dropout by a seed that moves on, and a count, as of statistics."""
    kernel, bias = weights
    seed, count = state
    kept = stateless_random.keep(seed, tf.shape(x), RATE)
    hidden = tf.tanh(tf.linalg.matmul(x, kernel) + bias)
    outputs = tf.where(kept, hidden, 0.0) / (1 - RATE)
    return outputs, [seed + 1, count + tf.reduce_sum(x)], record


def make_stack(depth=DEPTH, shared=False, function=bent, dtype="float32"):
    """Blocks and what they take: inputs, weights, state."""
    random = np.random.default_rng(0)

    def normal(*shape):
        return tf.constant(random.normal(size=shape), dtype)

    branches, weights, state = [], [], []
    for place in range(2 * depth):
        if not shared or place < 2:
            weights += [0.3 * normal(DIM, DIM), normal(DIM)]
            state += [tf.constant([place, 7]), tf.zeros((), dtype)]
        last = len(weights)
        branches.append(
            Branch(function, (last - 2, last - 1), (last - 2, last - 1))
        )
    blocks = list(zip(branches[::2], branches[1::2], strict=True))
    return blocks, normal(3, 5, DIM), normal(3, 5, DIM), weights, state


def plain(blocks, x1, x2, weights, state):
    """What `reversible_sequence` computes, block by block."""
    state = list(state)

    def run(branch, x):
        outputs, after, _ = branch.function(
            x,
            [weights[place] for place in branch.weights],
            [state[place] for place in branch.state],
            None,
        )
        for place, tensor in zip(branch.state, after, strict=True):
            state[place] = tensor
        return outputs

    for f, g in blocks:
        x1 = x1 + run(f, x2)
        x2 = x2 + run(g, x1)
    return x1, x2, state


def differentiate(run, blocks, x1, x2, weights, state):
    """Outputs, state, and gradients for inputs and weights."""
    factors = np.random.default_rng(1).normal(size=(2, *x1.shape))
    factors = tf.constant(factors, x1.dtype)
    with tf.GradientTape() as tape:
        tape.watch([x1, x2, *weights])
        y1, y2, state = run(blocks, x1, x2, weights, state)
        loss = tf.reduce_sum(factors[0] * y1 + factors[1] * y2**2)
    return y1, y2, state, tape.gradient(loss, [x1, x2, *weights])


def assert_close(actual, expected, tolerance):
    """In parts of the largest number of each tensor."""
    for a, e in zip(
        tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(a, e, atol=tolerance * np.max(np.abs(e)))


@pytest.mark.parametrize(
    ("mode", "shared"),
    [("eager", False), ("eager", True), ("graph", True), ("compiled", False)],
)
def test_values_and_gradients_equal_those_of_autodiff(mode, shared):
    blocks, *tensors = make_stack(shared=shared)

    def function(*tensors):
        return differentiate(reversible.reversible_sequence, blocks, *tensors)

    actual = MODES[mode](function)(*tensors)
    expected = differentiate(plain, blocks, *tensors)
    assert_close(actual, expected, 5e-6)


def test_gradients_are_exact_in_float64():
    blocks, *tensors = make_stack(depth=12, dtype="float64")
    assert_close(
        differentiate(reversible.reversible_sequence, blocks, *tensors),
        differentiate(plain, blocks, *tensors),
        1e-14,
    )


def test_nothing_is_lost_at_depth_24():
    """Sums in float32 would be off by some 1e-5 there."""
    blocks, *tensors = make_stack(depth=24)
    actual, kept = (
        differentiate(
            lambda *arguments, recompute=recompute: (
                reversible.reversible_sequence(*arguments, recompute=recompute)
            ),
            blocks,
            *tensors,
        )
        for recompute in (True, False)
    )
    assert_close(actual, kept, 1e-7)
    assert_close(actual, differentiate(plain, blocks, *tensors), 1e-5)


def test_without_recomputing_it_is_the_plain_stack():
    blocks, *tensors = make_stack(dtype="float64")

    def run(*arguments):
        return reversible.reversible_sequence(*arguments, recompute=False)

    assert_close(
        differentiate(run, blocks, *tensors),
        differentiate(plain, blocks, *tensors),
        0.0,
    )


def test_inputs_are_reconstructed_from_the_top_down():
    seen = []

    def watched(x, weights, state, record):
        seen.append(x)
        return bent(x, weights, state, record)

    # Narrower streams come back to the last bit.
    blocks, *tensors = make_stack(function=watched, dtype="float64")
    differentiate(reversible.reversible_sequence, blocks, *tensors)
    forward, backward = seen[: 2 * DEPTH], seen[2 * DEPTH :]
    assert len(backward) == 2 * DEPTH
    assert_close(backward[::-1], forward, 1e-14)
    # The lowest one was not handed over.
    assert np.any(backward[-1] != forward[0])


def test_state_moves_once_and_only_where_it_changes():
    def still(x, weights, state, record):
        outputs, (seed, _), record = bent(x, weights, state, record)
        return outputs, [seed, state[1]], record

    def move(x, weights, state, record):
        outputs, after, record = bent(x, weights, state, record)
        return outputs, [after[0], state[1]], record

    blocks, x1, x2, weights, state = make_stack(function=move)
    _, _, after = reversible.reversible_sequence(blocks, x1, x2, weights, state)
    for before, now in zip(state[::2], after[::2], strict=True):
        np.testing.assert_array_equal(now, before + 1)
    for before, now in zip(state[1::2], after[1::2], strict=True):
        assert now is before


def test_what_was_decided_is_not_decided_again():
    """As buckets are, which a reconstruction could tell otherwise."""
    decided = []

    def choose(x, weights, state, record):
        if record is None:
            record = {"sign": tf.cast(tf.sign(x), "int32")}
            decided.append(record)
        # Far from a number of `x` alone: its noise must not matter.
        sign = tf.cast(record["sign"], x.dtype)
        return sign * tf.linalg.matmul(x, weights[0]), state, record

    blocks, *tensors = make_stack(function=choose)
    actual = differentiate(reversible.reversible_sequence, blocks, *tensors)
    assert len(decided) == 2 * DEPTH
    expected = differentiate(plain, blocks, *tensors)
    # The biases are not used.
    assert actual[3][3::2] == expected[3][3::2] == [None] * 2 * DEPTH
    assert_close(actual[:3], expected[:3], 1e-6)
    kernels = [0, 1, *range(2, 4 * DEPTH + 2, 2)]
    assert_close(
        [actual[3][place] for place in kernels],
        [expected[3][place] for place in kernels],
        1e-5,
    )


def test_a_stream_alone_is_differentiated():
    blocks, x1, x2, weights, state = make_stack()
    gradients = []
    for run in (reversible.reversible_sequence, plain):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y1, _, _ = run(blocks, x1, x2, weights, state)
        gradients.append(tape.gradient(y1, weights)[:-2])
    assert_close(*gradients, 1e-6)


def test_half_precision_stays_inside_the_branches():
    def half(x, weights, state, record):
        outputs, after, record = bent(
            tf.cast(x, "bfloat16"),
            [tf.cast(weight, "bfloat16") for weight in weights],
            [state[0], tf.cast(state[1], "bfloat16")],
            record,
        )
        assert outputs.dtype == "bfloat16"
        return outputs, [after[0], tf.cast(after[1], "float32")], record

    def widened(x, *rest):
        outputs, *rest = half(x, *rest)
        return tf.cast(outputs, "float32"), *rest

    blocks, *tensors = make_stack(function=half)
    actual = differentiate(reversible.reversible_sequence, blocks, *tensors)
    blocks, *_ = make_stack(function=widened)
    expected = differentiate(plain, blocks, *tensors)
    assert actual[0].dtype == actual[3][0].dtype == "float32"
    assert_close(actual[:2], expected[:2], 1e-6)
    assert_close(actual[3], expected[3], 1e-2)


def test_second_gradients_are_refused():
    blocks, x1, x2, weights, state = make_stack(depth=1)

    def second(x1):
        with tf.GradientTape() as outer:
            outer.watch(x1)
            with tf.GradientTape() as inner:
                inner.watch(x1)
                y1, y2, _ = reversible.reversible_sequence(
                    blocks, x1, x2, weights, state
                )
                # Linear: what comes from above does not depend on `x1`.
                loss = tf.reduce_sum(y1 + y2)
            gradient = inner.gradient(loss, x1)
        return outer.gradient(gradient, x1)

    for function in (second, tf.function(second, autograph=False)):
        with pytest.raises(LookupError, match="no second gradients"):
            function(x1)


def test_eager_execution_keeps_no_activations():
    hidden = []

    def watched(x, weights, state, record):
        wide = tf.tanh(tf.linalg.matmul(x, weights[0]))
        hidden.append(weakref.ref(wide))
        return wide * weights[1], state, record

    blocks, x1, x2, weights, state = make_stack(function=watched)
    for recompute, expected in [(True, 0), (False, 2 * DEPTH)]:
        hidden.clear()
        with tf.GradientTape() as tape:
            tape.watch(weights)
            y1, _, _ = reversible.reversible_sequence(
                blocks, x1, x2, weights, state, recompute=recompute
            )
        gc.collect()
        assert len(hidden) == 2 * DEPTH
        assert sum(ref() is not None for ref in hidden) == expected
        del tape, y1


def test_a_block_waits_for_the_gradients_of_the_one_above():
    """Or activations of both would be there at once, whoever schedules."""
    calls = []

    def watched(x, weights, state, record):
        calls.append({"x": x, "seed": state[0]})
        return bent(x, weights, state, record)

    blocks, *tensors = make_stack(function=watched)

    @tf.function
    def function(*tensors):
        _, _, _, gradients = differentiate(
            reversible.reversible_sequence, blocks, *tensors
        )
        calls.append([needed_by(gradient.op) for gradient in gradients[2:]])
        return gradients

    function.get_concrete_function(*tensors)
    *calls, of_weights = calls
    forward, backward = calls[: 2 * DEPTH], calls[2 * DEPTH :][::-1]
    for place in range(2 * DEPTH - 1):
        for name in ("x", "seed"):
            before = needed_by(backward[place][name].op)
            products = {
                op
                for needed in of_weights[2 * place + 2 : 2 * place + 4]
                for op in needed
                if op.type in ("MatMul", "BatchMatMulV2", "Sum")
            }
            assert len(products) >= 2
            assert products <= before, (place, name)
        # Equal seeds would let a compiler keep what they drew.
        assert backward[place]["seed"].op not in needed_by(
            forward[place]["seed"].op
        )


def needed_by(op):
    """All operations that must be run before one has run, and itself."""
    found, todo = set(), [op]
    while todo:
        op = todo.pop()
        if op not in found:
            found.add(op)
            todo += [tensor.op for tensor in op.inputs]
    return found

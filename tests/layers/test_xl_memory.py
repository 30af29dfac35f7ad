"""Tests of keras_xf.layers.XLMemory.

What every layer owes is tested in tests/conformance, and what buffers do beside
tests/ops/test_memory.py.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import XLMemory

ROWS, DIM = 3, 2


@pytest.mark.parametrize("shape", [(), (4,)])
@pytest.mark.parametrize("size", [0, 1, 5, 20])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_remembers_what_came_last(shape, size, jit_compile):
    layer = XLMemory(size)
    state = layer.initial_state(ROWS, shape, DIM)
    assert state["memory"].shape == (ROWS, *shape, size, DIM)
    np.testing.assert_array_equal(state["memory_length"], np.zeros(ROWS))
    function = tf.function(layer, jit_compile=jit_compile)
    generator = np.random.default_rng(0)
    past = [[] for _ in range(ROWS)]
    # Wider than the memory, and narrower.
    for width in (3, 7, 1, 2):
        inputs = generator.normal(size=(ROWS, *shape, width, DIM))
        inputs = inputs.astype("float32")
        length = generator.integers(0, width + 1, ROWS, "int32")
        for row in range(ROWS):
            past[row] += [inputs[row, ..., i, :] for i in range(length[row])]
        pair = function(inputs, **state, length=length)
        state = dict(zip(state, pair, strict=True))
        for row in range(ROWS):
            last = past[row][max(len(past[row]) - size, 0) :]
            assert state["memory_length"][row] == len(last)
            for place, entry in enumerate(last, start=size - len(last)):
                np.testing.assert_array_equal(
                    state["memory"][row, ..., place, :], entry
                )


def test_all_is_real_by_default():
    layer = XLMemory(4)
    state = layer.initial_state(ROWS, (), DIM)
    inputs = np.random.default_rng(0).normal(size=(ROWS, 3, DIM))
    expected = layer(inputs, **state, length=np.full(ROWS, 3))
    for actual, e in zip(layer(inputs, **state), expected, strict=True):
        np.testing.assert_array_equal(actual, e)


def test_no_gradient_goes_through_it():
    layer = XLMemory(4)
    state = layer.initial_state(ROWS, (), DIM)
    inputs = tf.ones((ROWS, 3, DIM))
    for length in (None, np.array([1, 2, 3])):
        with tf.GradientTape() as tape:
            tape.watch([inputs, state["memory"]])
            memory, _ = layer(inputs, **state, length=length)
            loss = tf.reduce_sum(memory**2)
        gradients = tape.gradient(loss, [inputs, state["memory"]])
        assert gradients == [None, None]


@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16"]
)
def test_a_memory_is_wide_in_half_precision(policy):
    layer = XLMemory(4, dtype=policy)
    state = layer.initial_state(ROWS, (), DIM)
    assert state["memory"].dtype == "float32"
    inputs = np.full((ROWS, 3, DIM), 1 + 2**-20, "float32")
    memory, length = layer(inputs, **state)
    assert memory.dtype == "float32"
    assert length.dtype == "int32"
    np.testing.assert_array_equal(memory[:, 1:], inputs)
    narrow = tf.cast(inputs, policy.removeprefix("mixed_"))
    assert layer(narrow, **state)[0].dtype == "float32"


def test_a_memory_of_double_precision():
    layer = XLMemory(4, dtype="float64")
    state = layer.initial_state(ROWS, (), DIM)
    assert state["memory"].dtype == "float64"
    inputs = np.full((ROWS, 3, DIM), 1 + 2**-40)
    np.testing.assert_array_equal(layer(inputs, **state)[0][:, 1:], inputs)


@pytest.mark.parametrize(
    ("memory_length", "message"),
    [
        (
            -1,
            "`memory_length` must not be negative. Received: memory_length=-1.",
        ),
        (
            2.5,
            "`memory_length` must be an integer. Received: memory_length=2.5.",
        ),
    ],
)
def test_rejects(memory_length, message):
    with pytest.raises(ValueError) as error:
        XLMemory(memory_length)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("inputs", "memory", "message"),
    [
        (
            (3, 5, 8),
            (3, 3, 8),
            "`memory` must hold the layer's `memory_length` positions. "
            "Received: shape=(3, 3, 8), memory_length=4.",
        ),
        (
            (3, 5, 8),
            (8,),
            "`memory` must have the shape (batch, ..., memory_length, dim). "
            "Received: shape=(8,).",
        ),
        (
            (3, 5, 8),
            (2, 4, 8),
            "`inputs` must be like `memory` but for the length. Received: "
            "shape=(3, 5, 8), memory=(2, 4, 8).",
        ),
        (
            (3, 5, 8),
            (3, 4, 6),
            "`inputs` must be like `memory` but for the length. Received: "
            "shape=(3, 5, 8), memory=(3, 4, 6).",
        ),
        (
            (3, 5, 8),
            (3, 2, 4, 8),
            "`inputs` must be like `memory` but for the length. Received: "
            "shape=(3, 5, 8), memory=(3, 2, 4, 8).",
        ),
    ],
)
@pytest.mark.parametrize("built", [False, True])
def test_rejects_shapes(inputs, memory, message, built):
    layer = XLMemory(4)
    if built:
        layer(
            np.zeros((3, 5, 8), "float32"),
            memory=np.zeros((3, 4, 8), "float32"),
            memory_length=np.zeros(3, "int32"),
        )
    with pytest.raises(ValueError) as error:
        layer(
            np.zeros(inputs, "float32"),
            memory=np.zeros(memory, "float32"),
            memory_length=np.zeros(inputs[0], "int32"),
        )
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["memory_length", "length"])
def test_rejects_lengths_of_other_batches(name):
    layer = XLMemory(4)
    arguments = {
        "memory_length": np.zeros(3, "int32"),
        "length": np.zeros(3, "int32"),
        name: np.zeros(2, "int32"),
    }
    with pytest.raises(ValueError) as error:
        layer(
            np.zeros((3, 5, 8), "float32"),
            memory=np.zeros((3, 4, 8), "float32"),
            **arguments,
        )
    assert (
        f"`{name}` must have the shape (batch,) with batch=3. Received: "
        "shape=(2,)." in str(error.value)
    )

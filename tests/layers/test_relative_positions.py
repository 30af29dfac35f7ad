"""Tests of keras_xf.layers.RelativePositions.

What every layer owes is tested in tests/conformance.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import RelativeAttention
from keras_xf.layers import RelativePositions
from tests.oracles import transformer_xl as oracle


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")


@pytest.mark.parametrize("clamp_length", [None, 1, 6, 8])
@pytest.mark.parametrize("shape", [None, (2, 3, 8), (2, 4, 3, 8), (2, 0, 8)])
def test_rows_are_of_all_distances_down_to_oneself(inputs, clamp_length, shape):
    layer = RelativePositions(clamp_length=clamp_length)
    memory = None if shape is None else np.zeros(shape, "float32")
    source_length = 5 + (0 if shape is None else shape[-2])
    distances = np.arange(source_length, -1, -1)
    if clamp_length is not None:
        distances = np.minimum(distances, clamp_length)
    np.testing.assert_allclose(
        layer(inputs, memory=memory),
        [oracle.sinusoid(distance, 8) for distance in distances],
        atol=1e-6,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_tells_great_distances_apart(policy):
    inputs = np.zeros((1, 100, 64), "float32")
    memory = np.zeros((1, 2900, 64), "float32")
    rows = RelativePositions(dtype=policy)(inputs, memory=memory)
    assert rows.dtype == policy.removeprefix("mixed_")
    wide = np.asarray(tf.cast(rows, "float32"))
    assert len(np.unique(wide, axis=0)) == 3001
    expected = RelativePositions()(inputs, memory=memory)
    np.testing.assert_allclose(wide, expected, atol=4e-3)


def test_one_dropout_is_for_all_layers(inputs):
    positions = RelativePositions(dropout=0.5, seed=3)
    plain = np.asarray(positions(inputs))
    dropped = positions(inputs, training=True)
    zeros = np.asarray(dropped) == 0
    assert 0.2 < np.mean(zeros) < 0.8
    np.testing.assert_allclose(dropped, np.where(zeros, 0, 2 * plain))
    # What is dropped is so for each layer that gets it.
    for _ in range(2):
        layer = RelativeAttention(num_heads=2, key_dim=4)
        layer.build(inputs.shape)
        given = layer(inputs, positions=dropped)
        again = layer(inputs, positions=np.where(zeros, 0, 2 * plain))
        np.testing.assert_array_equal(given, again)
    other = positions(inputs, training=True)
    assert np.any(np.asarray(other) != np.asarray(dropped))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"clamp_length": 0},
            "`clamp_length` must be positive. Received: clamp_length=0.",
        ),
        (
            {"clamp_length": 1.5},
            "`clamp_length` must be an integer. Received: clamp_length=1.5.",
        ),
        (
            {"dropout": -0.1},
            "`dropout` must lie in [0, 1). Received: dropout=-0.1.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        RelativePositions(**arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (2, 5, 7),
            "`inputs` must have an even width. Received: shape=(2, 5, 7).",
        ),
        (
            (5, 8),
            "`inputs` must have the shape (batch, length, dim). Received: "
            "shape=(5, 8).",
        ),
    ],
)
def test_rejects_inputs(shape, message):
    with pytest.raises(ValueError) as error:
        RelativePositions()(np.zeros(shape, "float32"))
    assert str(error.value) == message


def test_rejects_a_memory_without_a_length(inputs):
    with pytest.raises(ValueError) as error:
        RelativePositions()(inputs, memory=np.zeros(3, "float32"))
    assert (
        "`memory` must have the shape (batch, ..., memory_length, dim). "
        "Received: shape=(3,)." in str(error.value)
    )

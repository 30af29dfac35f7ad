"""Tests of the layers that add positions.

What every layer owes is tested in tests/conformance.
"""

import numpy as np
import pytest

from keras_xf.layers import LearnedPositions
from keras_xf.layers import SinusoidalPositions


@pytest.mark.parametrize(
    "make", [SinusoidalPositions, lambda: LearnedPositions(max_length=20)]
)
def test_a_start_continues_the_positions(make):
    layer = make()
    whole = layer(np.zeros((2, 20, 8), "float32"))
    part = layer(np.zeros((2, 4, 8), "float32"), start=np.array([3, 16]))
    np.testing.assert_array_equal(part[0], whole[0, 3:7])
    np.testing.assert_array_equal(part[1], whole[1, 16:])


def test_learned_positions_are_added():
    layer = LearnedPositions(max_length=5)
    inputs = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    outputs = layer(inputs)
    (table,) = layer.get_weights()
    np.testing.assert_allclose(outputs, inputs + table[:3], rtol=1e-6)


def test_learned_positions_end():
    layer = LearnedPositions(max_length=4)
    with pytest.raises(ValueError) as error:
        layer(np.zeros((1, 5, 8), "float32"))
    assert (
        "`inputs` must not be longer than `max_length`. "
        "Received: length=5, max_length=4." in str(error.value)
    )
    with pytest.raises(ValueError) as error:
        LearnedPositions(max_length=0)
    assert str(error.value) == (
        "`max_length` must be positive. Received: max_length=0."
    )


def test_sinusoids_need_an_even_width():
    with pytest.raises(ValueError) as error:
        SinusoidalPositions()(np.zeros((1, 5, 7), "float32"))
    assert str(error.value) == (
        "`inputs` must have an even width. Received: shape=(1, 5, 7)."
    )


@pytest.mark.parametrize(
    "make", [SinusoidalPositions, lambda: LearnedPositions(max_length=20)]
)
def test_rejects_a_start_that_is_no_vector(make):
    with pytest.raises(ValueError) as error:
        make()(np.zeros((3, 5, 8), "float32"), start=np.zeros((3, 1), "int32"))
    assert (
        "`start` must have the shape (batch,). Received: shape=(3, 1)."
        in str(error.value)
    )

"""Tests of keras_xf.initializers."""

import keras
import numpy as np
import pytest

from keras_xf.initializers import PerSlice
from keras_xf.initializers import Stacked

GLOROT = keras.initializers.GlorotUniform


@pytest.mark.parametrize(
    ("axis", "shape", "whole"),
    [(-2, (8, 4, 32), (32, 32)), (-1, (8, 32, 16), (32, 128))],
)
def test_stacked_is_one_matrix_that_is_cut(axis, shape, whole):
    found = np.asarray(Stacked(GLOROT(seed=3), axis=axis)(shape))
    matrix = np.asarray(GLOROT(seed=3)(whole))
    assert found.shape == shape
    np.testing.assert_array_equal(np.concatenate(found, axis=axis), matrix)


def test_stacked_has_the_variance_of_the_whole():
    # Figures of the specification: of the merged matrix, and what Keras's
    # fans of a stack would give.
    shape = (8, 64, 512)
    found = np.asarray(Stacked(GLOROT(seed=0), axis=-2)(shape))
    assert found.var() == pytest.approx(2 / 1024, rel=0.03)
    assert np.asarray(GLOROT(seed=0)(shape)).var() == pytest.approx(
        4.3e-4, rel=0.03
    )


def test_slices_are_drawn_on_their_own():
    found = np.asarray(PerSlice(GLOROT(seed=1))((8, 64, 512)))
    np.testing.assert_allclose(found.var((1, 2)), 2 / 576, rtol=0.03)
    assert len({part.tobytes() for part in found}) == 8
    again = PerSlice(GLOROT(seed=1))((8, 64, 512))
    np.testing.assert_array_equal(found, again)
    # The first has the draws that the seed promises.
    np.testing.assert_array_equal(found[0], GLOROT(seed=1)((64, 512)))


def test_each_slice_is_orthogonal():
    found = np.asarray(
        PerSlice(keras.initializers.Orthogonal(seed=0))((3, 8, 5))
    )
    for part in found:
        np.testing.assert_allclose(part.T @ part, np.eye(5), atol=1e-5)


@pytest.mark.parametrize("initializer", [Stacked, PerSlice])
def test_configs_round_trip(initializer):
    first = initializer(keras.initializers.HeNormal(seed=5))
    config = keras.initializers.serialize(first)
    assert config["registered_name"] == f"keras_xf>{initializer.__name__}"
    again = keras.initializers.deserialize(config)
    np.testing.assert_array_equal(first((2, 3, 4)), again((2, 3, 4)))
    assert first((2, 3, 4), dtype="float16").dtype == "float16"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Stacked(axis=0),
            "`axis` must be -2 or -1. Received: axis=0.",
        ),
        (
            lambda: Stacked()((2, 3)),
            "`shape` must be that of a stack of matrices. "
            "Received: shape=(2, 3).",
        ),
        (
            lambda: PerSlice()((2,)),
            "`shape` must have an axis of the slices and those of a slice. "
            "Received: shape=(2,).",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message

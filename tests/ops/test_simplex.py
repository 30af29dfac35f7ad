"""Tests of keras_xf.ops.simplex."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_xf.ops import simplex
from tests.oracles.simplex import project as oracle


@pytest.mark.parametrize("number", [1, 2, 3, 6])
@pytest.mark.parametrize("min_weight", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_equals_the_search(number, min_weight, scale):
    x = np.random.default_rng(number).normal(size=(20, number)) * scale
    expected = [oracle(row, min_weight) for row in x]
    np.testing.assert_allclose(
        simplex.project(x, min_weight), expected, atol=1e-12
    )
    compiled = tf.function(simplex.project, jit_compile=True)
    found = compiled(tf.constant(x, "float32"), min_weight)
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(scale, 1))


@pytest.mark.parametrize(
    ("x", "min_weight", "expected"),
    [
        ([0.6, 0.5, 0.1, -0.2], 0.0, [0.533333, 0.433333, 0.033333, 0.0]),
        ([0.6, 0.5, 0.1, -0.2], 0.05, [0.5, 0.4, 0.05, 0.05]),
        ([0.3, 0.3, 0.3, 0.3], 0.0, [0.25] * 4),
        ([2.0, -1.0, 0.0, 0.5], 0.0, [1.0, 0.0, 0.0, 0.0]),
        ([0.4, 0.3, 0.2, 0.05], 0.0, [0.4125, 0.3125, 0.2125, 0.0625]),
    ],
)
def test_known_values(x, min_weight, expected):
    found = simplex.project(np.array(x, "float32"), min_weight)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_are_on_the_simplex_and_stay():
    x = np.random.default_rng(0).normal(size=(1000, 8)).astype("float32")
    # Far away, equal, and next to each other.
    x = np.concatenate([x, 1e6 * x, np.full((1, 8), 7.0), x * 1e-6 + 0.125])
    found = np.asarray(simplex.project(x.astype("float32")))
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(simplex.project(found), found, atol=1e-7)


def test_the_order_does_not_matter():
    x = np.random.default_rng(1).normal(size=(30, 7))
    order = np.random.default_rng(2).permutation(7)
    np.testing.assert_allclose(
        simplex.project(x[:, order]), ops.take(simplex.project(x), order, 1)
    )


def test_half_precision_is_computed_in_single():
    x = np.random.default_rng(0).normal(size=(50, 8)).astype("float16")
    found = simplex.project(ops.convert_to_tensor(x))
    assert found.dtype == "float16"
    exact = np.asarray(simplex.project(x.astype("float32")))
    np.testing.assert_array_equal(found, exact.astype("float16"))


@pytest.mark.parametrize("number", [4, 8, 16])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_what_is_there_keeps_its_bits(number, share):
    min_weight = share / number
    x = np.random.default_rng(0).normal(size=(2000, number)).astype("float32")
    once = np.asarray(simplex.project(0.3 * x, min_weight))
    np.testing.assert_array_equal(simplex.project(once, min_weight), once)
    sums = once.sum(axis=-1, dtype="float64")
    np.testing.assert_allclose(sums, 1, rtol=0, atol=1e-6)
    # What is off it by little more is not there.
    moved = once.copy()
    moved[:, 0] += 1e-5
    again = np.asarray(simplex.project(moved, min_weight))
    np.testing.assert_allclose(again.sum(-1), 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("min_weight", [-0.1, 0.25, 0.3])
def test_rejects_smallest_weights(min_weight):
    with pytest.raises(ValueError) as error:
        simplex.project(np.ones(4, "float32"), min_weight)
    assert str(error.value) == (
        "`min_weight` must not be negative, and times the number of weights be "
        f"less than one. Received: min_weight={min_weight}, number=4."
    )

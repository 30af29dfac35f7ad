"""Tests of keras_xf.losses.NormalizedMeanSquaredError."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.losses import NormalizedMeanSquaredError


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    return generator.random((2, 5, 4, 3, 2)).astype("float32")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_the_formula(pair, jit_compile):
    y_true, y_pred = pair
    loss = NormalizedMeanSquaredError(variance=0.3)
    found = tf.function(loss, jit_compile=jit_compile)(y_true, y_pred)
    expected = np.mean((y_true - y_pred) ** 2) / 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_mean_has_a_loss_of_one(pair):
    y_true = pair[0]
    loss = NormalizedMeanSquaredError(variance=y_true.var())
    np.testing.assert_allclose(
        loss(y_true, np.full_like(y_true, y_true.mean())), 1, rtol=1e-5
    )


def test_weights_are_of_examples(pair):
    y_true, y_pred = pair
    weights = np.array([1, 0, 2, 0, 0], "float32")
    found = NormalizedMeanSquaredError(0.3)(y_true, y_pred, weights)
    errors = ((y_true - y_pred) ** 2).mean((1, 2, 3)) / 0.3
    np.testing.assert_allclose(found, (errors * weights).sum() / 3, rtol=1e-6)


def test_half_precision_is_widened():
    # Squares of such differences are zero in half precision.
    y_pred = tf.fill((2, 3), tf.constant(1e-4, "float16"))
    loss = NormalizedMeanSquaredError(1.0)
    found = loss(tf.zeros((2, 3)), y_pred)
    np.testing.assert_allclose(found, 1e-8, rtol=1e-2)


def test_config_and_errors():
    loss = NormalizedMeanSquaredError(0.3, name="error")
    config = keras.losses.serialize(loss)
    other = keras.losses.deserialize(config)
    assert other.get_config() == loss.get_config()
    assert other.variance == 0.3
    with pytest.raises(ValueError) as error:
        NormalizedMeanSquaredError(0.0)
    assert str(error.value) == (
        "`variance` must be positive. Received: variance=0.0."
    )
    with pytest.raises(ValueError) as error:
        loss.call(tf.zeros((3, 4)), tf.zeros((3, 4, 1)))
    assert str(error.value) == (
        "`y_true` must have the shape of `y_pred`, (batch, ...). Received: "
        "y_true=(3, 4), y_pred=(3, 4, 1)."
    )

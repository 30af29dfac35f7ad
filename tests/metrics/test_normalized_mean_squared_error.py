"""Tests of keras_xf.metrics.NormalizedMeanSquaredError."""

import keras
import numpy as np
import pytest

from keras_xf.metrics import NormalizedMeanSquaredError


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    y_true, noise = generator.random((2, 9, 4, 3, 2)).astype("float32")
    return y_true, y_true + 0.1 * noise


@pytest.mark.parametrize("variance", [None, 0.3])
def test_batches_add_up_to_the_formula(pair, variance):
    y_true, y_pred = pair
    metric = NormalizedMeanSquaredError(variance)
    for rows in (slice(4), slice(4, 9)):
        metric.update_state(y_true[rows], y_pred[rows])
    error = np.mean((y_true - y_pred) ** 2)
    expected = error / (variance or y_true.var())
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_what_has_no_weight_is_not_counted(pair):
    y_true, y_pred = pair
    metric = NormalizedMeanSquaredError()
    weights = np.array([1, 1, 0, 1, 0, 0, 1, 1, 0], "float32")
    metric.update_state(y_true, y_pred, weights)
    y_true, y_pred = y_true[weights > 0], y_pred[weights > 0]
    expected = np.mean((y_true - y_pred) ** 2) / y_true.var()
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-5)


def test_targets_that_do_not_vary():
    metric = NormalizedMeanSquaredError()
    metric.update_state(np.full((2, 3), 0.5), np.zeros((2, 3)))
    assert float(metric.result()) == 0


def test_config_and_errors():
    metric = NormalizedMeanSquaredError(0.3, name="error")
    config = keras.metrics.serialize(metric)
    other = keras.metrics.deserialize(config)
    assert other.get_config() == metric.get_config()
    with pytest.raises(ValueError) as error:
        NormalizedMeanSquaredError(-1.0)
    assert str(error.value) == (
        "`variance` must be positive. Received: variance=-1.0."
    )

"""Tests of apps.training.state."""

import json

import keras
import numpy as np
import pytest

from apps.training import state


def make_model():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4)(inputs)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(4)(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.BatchNormalization(name="norm_7")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(x))


def test_names_are_those_of_any_other_process():
    first, second = make_model(), make_model()
    # Keras counts on.
    assert first.layers[1].name != second.layers[1].name
    names = list(state.named_variables("model", second.variables))
    assert names == list(state.named_variables("model", first.variables))
    assert sorted(names) == [
        "model/dense/bias",
        "model/dense/bias#2",
        "model/dense/kernel",
        "model/dense/kernel#2",
        "model/head/bias",
        "model/head/kernel",
        "model/norm/beta",
        "model/norm/gamma",
        "model/norm/moving_mean",
        "model/norm/moving_variance",
        "model/seed_generator/seed_generator_state",
        "model/seed_generator/seed_generator_state#2",
    ]


def test_all_state_of_a_compiled_model_has_a_name():
    model = make_model()
    model.compile("adam", "mse", weighted_metrics=["mae"])
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    variables = state.model_variables(model)
    assert len(variables) == len(model.variables) + len(
        model.optimizer.variables
    )
    metrics = state.metric_variables(model)
    assert sorted(metrics) == [
        "metrics/loss/count",
        "metrics/loss/total",
        "metrics/mean_absolute_error/count",
        "metrics/mean_absolute_error/total",
    ]
    arrays = state.read_variables(variables | metrics)
    of_metrics, others = state.split_metrics(arrays)
    assert (set(of_metrics), set(others)) == (set(metrics), set(variables))


def test_values_are_copied_and_given_back():
    variable = keras.Variable(np.ones((2,), "float32"), name="a")
    variables = state.named_variables("x", [variable])
    arrays = state.read_variables(variables)
    variable.assign([3.0, 4.0])
    np.testing.assert_array_equal(arrays["x/a"], [1.0, 1.0])
    state.assign_variables(variables, arrays, "x")
    np.testing.assert_array_equal(variable, [1.0, 1.0])


def test_values_that_do_not_fit_change_nothing():
    a = keras.Variable(np.ones((2,), "float32"), name="a")
    b = keras.Variable(np.ones((2,), "float32"), name="b")
    c = keras.Variable(np.ones((2,), "float32"), name="c")
    arrays = {
        "x/a": np.zeros((2,), "float32"),
        "x/b": np.zeros((3,), "int64"),
        "x/d": np.zeros((3,), "int64"),
    }
    with pytest.raises(ValueError) as error:
        state.assign_variables(
            state.named_variables("x", [a, b, c]), arrays, "The box"
        )
    assert str(error.value) == (
        "The box must hold the variables of the model. Received: "
        "missing=['x/c'], extra=['x/d'], "
        "different=['x/b: int64 (3,), not float32 (2,)']."
    )
    np.testing.assert_array_equal(a, [1.0, 1.0])


class Counter(keras.callbacks.Callback):
    def __init__(self, limit=3, period=1):
        super().__init__()
        self.limit = limit
        self._period = period
        self.count = 0
        self.lists = [1, [2.5, None], {"name": "text", "is_on": True}]
        self.arrays = [np.arange(6.0).reshape(2, 3), np.float32(0.1)]
        self.function = len


def through_json(callbacks):
    return json.loads(json.dumps(state.read_callbacks(callbacks)))


def test_callbacks_keep_their_state_and_not_their_options():
    before = [Counter(), Counter(limit=4)]
    before[0].count, before[1].count = 7, 8
    before[0].lists[1][0] = float("inf")
    after = [Counter(limit=5, period=6), Counter(), Counter()]
    for callback in after:
        callback.arrays = None
        callback.set_params({"steps": 5})
    state.assign_callbacks(after, through_json(before))
    assert [callback.count for callback in after] == [7, 8, 0]
    assert (after[0].limit, after[0]._period) == (5, 6)
    expected = [1, [float("inf"), None], {"name": "text", "is_on": True}]
    assert after[0].lists == expected
    matrix, number = after[0].arrays
    np.testing.assert_array_equal(matrix, [[0, 1, 2], [3, 4, 5]])
    assert number == np.float32(0.1)
    assert type(number) is np.float32
    # A new one of the same class has nothing to take over.
    assert after[2].arrays is None
    assert after[0].params == {"steps": 5}


def test_early_stopping_goes_on_with_other_options():
    model = make_model()
    before = keras.callbacks.EarlyStopping(
        "loss", min_delta=0.1, patience=2, restore_best_weights=True
    )
    before.set_model(model)
    before.on_train_begin()
    for epoch, loss in enumerate([3.0, 2.0, 1.95]):
        before.on_epoch_end(epoch, {"loss": loss})
    after = keras.callbacks.EarlyStopping(
        "loss", min_delta=0.1, patience=5, restore_best_weights=True
    )
    after.set_model(model)
    after.on_train_begin()
    state.assign_callbacks([after], through_json([before]))
    assert (after.best, after.wait, after.best_epoch) == (2.0, 1, 1)
    assert after.patience == 5
    # 1.95 was less, but not by `min_delta`; nor is this.
    after.on_epoch_end(3, {"loss": 1.92})
    assert (after.best, after.wait) == (2.0, 2)
    for weight, expected in zip(
        after.best_weights, model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)

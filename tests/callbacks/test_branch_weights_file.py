"""Tests of keras_xf.callbacks.BranchWeightsFile."""

import keras
import numpy as np
import pytest

from apps.training import state
from keras_xf.callbacks import BranchWeightsFile
from keras_xf.callbacks import TrainingClock
from keras_xf.callbacks.branch_weights_file import read_branch_weights


def read(model):
    """Weights that move with the model's only one."""
    share = float(np.asarray(model.weights[0])[0, 0])
    return {"first": {"kappa": np.array([share, 1 - share])}}


def fit(callback, steps, start=0):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.weights[0].assign([[0.5]])
    x = np.ones((4, 1), "float32")
    model.fit(
        x,
        0 * x,
        epochs=steps,
        verbose=0,
        callbacks=[TrainingClock(start, 0.0), callback],
    )
    return model


def test_weights_are_kept_from_the_beginning_on(tmp_path):
    callback = BranchWeightsFile(tmp_path / "weights.csv", read)
    model = fit(callback, steps=2)
    lines = callback.path.read_text().splitlines()
    assert lines[:3] == [
        "step,block,weight,branch,value",
        "0,first,kappa,0,0.5",
        "0,first,kappa,1,0.5",
    ]
    steps, blocks = read_branch_weights(callback.path)
    assert steps == [0, 1, 2]
    ((first, second),) = blocks["first"].values()
    assert first[-1] == read(model)["first"]["kappa"][0] != first[0]
    np.testing.assert_allclose(np.add(first, second), 1)


def test_steps_are_updates_without_a_clock(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    callback = BranchWeightsFile(tmp_path / "weights.csv", read)
    x = np.ones((6, 1), "float32")
    model.fit(x, x, batch_size=2, epochs=2, verbose=0, callbacks=[callback])
    assert read_branch_weights(callback.path)[0] == [0, 3, 6]


def test_goes_on_from_its_state(tmp_path):
    callback = BranchWeightsFile(tmp_path / "weights.csv", read)
    fit(callback, steps=2)
    kept = state.read_callbacks([callback])
    before = callback.path.read_text()
    # What came behind the state is not kept.
    callback.on_epoch_end(2, {"step": 3})
    again = BranchWeightsFile(callback.path, read)
    state.assign_callbacks([again], kept)
    fit(again, steps=1, start=2)
    text = callback.path.read_text()
    assert text.startswith(before)
    assert read_branch_weights(callback.path)[0] == [0, 1, 2, 3]


def test_rejects_another_file(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("step,loss\n1,2\n")
    with pytest.raises(ValueError) as error:
        read_branch_weights(path)
    assert str(error.value) == (
        "`path` must be a CSV file with the columns step, block, weight, "
        f'branch, value. Received: path={str(path)!r}, error="KeyError: '
        "'block'\"."
    )

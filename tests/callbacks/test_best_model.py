"""Tests of keras_xf.callbacks.BestModel."""

import keras
import numpy as np
import pytest

from keras_xf.callbacks import BestModel
from keras_xf.callbacks.best_model import save_for_inference

NAN = float("nan")


@pytest.fixture
def model():
    inputs = {"x": keras.Input((3,), name="x")}
    outputs = {"y": keras.layers.Dense(2)(inputs["x"])}
    model = keras.Model(inputs, outputs, name="small")
    model.compile("adam", {"y": "mse"})
    model.fit({"x": np.ones((4, 3))}, {"y": np.ones((4, 2))}, verbose=0)
    return model


def saved_steps(monkeypatch, callback, values):
    """Returns the steps at which a callback saves, 1 and on."""
    steps = []
    for step, value in enumerate(values, start=1):
        monkeypatch.setattr(
            "keras_xf.callbacks.best_model.save_for_inference",
            lambda model, path, step=step: steps.append(step),
        )
        callback.on_epoch_end(0, {"val_loss": value, "step": step})
    return steps


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [
        ("val_loss", "min", [2, 3, 6]),
        ("val_loss", "max", [2, 5]),
        (None, "min", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_saves_what_is_better_than_all_before(
    monkeypatch, tmp_path, monitor, mode, expected
):
    callback = BestModel(tmp_path / "model.keras", monitor, mode)
    values = [NAN, 3.0, 2.0, 2.0, 4.0, 1.0, NAN]
    assert saved_steps(monkeypatch, callback, values) == expected
    assert callback.best_step == expected[-1]
    best = {"min": 1.0, "max": 4.0}[mode] if monitor else None
    assert callback.best == best


def test_the_file_predicts_the_same_and_has_no_optimizer(model, tmp_path):
    path = tmp_path / "model.keras"
    save_for_inference(model, path)
    model.save(tmp_path / "whole.keras")
    assert path.stat().st_size < (tmp_path / "whole.keras").stat().st_size
    revived = keras.saving.load_model(path)
    assert not revived.compiled
    assert revived.name == "small"
    batch = {"x": np.ones((2, 3), "float32")}
    np.testing.assert_array_equal(revived(batch)["y"], model(batch)["y"])
    # The model goes on as it was.
    assert model.compiled
    assert len(model.optimizer.variables) > 2


def test_rejects_an_unknown_mode(tmp_path):
    with pytest.raises(ValueError) as error:
        BestModel(tmp_path / "model.keras", "val_loss", mode="less")
    assert str(error.value) == (
        '`mode` must be "min" or "max". Received: mode=\'less\'.'
    )


def test_rejects_a_metric_that_is_not_there(tmp_path):
    callback = BestModel(tmp_path / "model.keras", "val_score")
    with pytest.raises(ValueError) as error:
        callback.on_epoch_end(0, {"step": 1, "loss": 1.0})
    assert str(error.value) == (
        "`monitor` must be a metric of this training. Received: "
        "monitor='val_score', metrics=['loss', 'step']."
    )

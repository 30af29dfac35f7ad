"""Tests of keras_xf.callbacks.TensorBoardScalars."""

import pytest
import tensorflow as tf

from keras_xf.callbacks import TensorBoardScalars
from keras_xf.callbacks import tensorboard_scalars

pytest.importorskip("tensorboard")


def scalars(folder):
    """Reads `(name, step, value)` of all events in a folder."""
    found = []
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [
                (value.tag, event.step, float(tf.make_ndarray(value.tensor)))
                for value in event.summary.value
            ]
    return found


def test_training_and_validation_share_names_and_steps(tmp_path):
    callback = TensorBoardScalars(tmp_path)
    for step in (10, 20):
        logs = {"step": step, "loss": step / 4, "val_loss": step / 8}
        callback.on_epoch_end(0, logs)
    assert scalars(tmp_path / "train") == [("loss", 10, 2.5), ("loss", 20, 5.0)]
    assert scalars(tmp_path / "validation") == [
        ("loss", 10, 1.25),
        ("loss", 20, 2.5),
    ]


def test_a_missing_tensorboard_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tensorboard_scalars.importlib.util, "find_spec", lambda name: None
    )
    with pytest.raises(ValueError) as error:
        TensorBoardScalars(tmp_path)
    assert str(error.value) == (
        "`log_dir` needs TensorBoard: pip install tensorboard. "
        f"Received: log_dir={str(tmp_path)!r}."
    )

"""Metrics of every epoch for TensorBoard."""

import importlib.util
from pathlib import Path

import keras
import tensorflow as tf

from keras_xf.checks import check


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the logs of every epoch as TensorBoard scalars, by step.

    Training goes to the folder `train`, what begins with `val_` to the folder
    `validation`, under one name, so that TensorBoard draws them in one chart.
    `keras.callbacks.TensorBoard` counts epochs instead, from zero in each
    process.

    Args:
        log_dir: The folder that TensorBoard is shown.
    """

    def __init__(self, log_dir: str | Path):
        super().__init__()
        check(
            importlib.util.find_spec("tensorboard"),
            "`log_dir` needs TensorBoard: pip install tensorboard.",
            log_dir=str(log_dir),
        )
        self._log_dir = Path(log_dir)
        self._writers = {}

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            if name == "step":
                continue
            part = "validation" if name.startswith("val_") else "train"
            with self._writer(part).as_default():
                tf.summary.scalar(
                    name.removeprefix("val_"), value, step=int(logs["step"])
                )
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, part):
        if part not in self._writers:
            self._writers[part] = tf.summary.create_file_writer(
                str(self._log_dir / part)
            )
        return self._writers[part]

"""Keeps the best model of a training, ready for inference."""

import math
from pathlib import Path
from typing import Literal

import keras

from keras_xf.checks import check
from keras_xf.files import atomic_file


class BestModel(keras.callbacks.Callback):
    """Saves the model after every epoch that is the best so far.

    The file holds architecture and weights, but neither the optimizer's state,
    which is two thirds of it with Adam, nor what `compile` was told. It is
    replaced as a whole.

    Unlike `keras.callbacks.ModelCheckpoint` it keeps `best` and `best_step` as
    plain attributes that a checkpoint can save and restore.

    Args:
        path: The `.keras` file.
        monitor: The metric that decides. If None, every epoch is the best.
        mode: Whether less (`"min"`) or more (`"max"`) of it is better.

    Attributes:
        best: The best value, None before there is one.
        best_step: The step of it.
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
    ):
        super().__init__()
        check(
            mode in ("min", "max"), '`mode` must be "min" or "max".', mode=mode
        )
        self.path = Path(path)
        self.monitor = monitor
        self.mode = mode
        self.best = None
        self.best_step = None

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor is not None:
            check(
                self.monitor in logs,
                "`monitor` must be a metric of this training.",
                monitor=self.monitor,
                metrics=sorted(logs),
            )
            value = logs[self.monitor]
            if not self._is_best(value):
                return
            self.best = value
        self.best_step = int(logs["step"])
        save_for_inference(self.model, self.path)

    def _is_best(self, value):
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        return value < self.best if self.mode == "min" else value > self.best


def save_for_inference(model: keras.Model, path: str | Path) -> None:
    """Replaces a `.keras` file by the model without its optimizer.

    Args:
        model: A functional model, or one that trains the functional model that
            it has as its attribute `inner`.
        path: The file.
    """
    model = getattr(model, "inner", model)
    # Keras saves the optimizer of a compiled model in any case. A model of the
    # same graph shares the layers, and was never compiled.
    uncompiled = type(model)(model.input, model.output, name=model.name)
    with atomic_file(path) as aside:
        uncompiled.save(aside)

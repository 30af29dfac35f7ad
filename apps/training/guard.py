"""The callback that stops a training which has gone wrong."""

import math

import keras
from keras import ops

from apps.training.checkpoints import Checkpoints
from apps.training.exits import NonFiniteError
from keras_xf.checks import check


class Guard(keras.callbacks.Callback):
    """Stops a training without numbers or without data.

    It stands before all callbacks that save something.

    Args:
        checkpoints: Where the last good checkpoint is.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self._checkpoints = checkpoints
        self._batches = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self._batches = batch + 1
        # A running mean, which no later step makes finite again.
        if not math.isfinite(logs["loss"]):
            raise _error("loss", logs["step"], self._checkpoints)

    def on_epoch_end(self, epoch, logs=None):
        # Keras would go on, with a warning and nothing to learn from.
        check(
            self._batches == self.params["steps"],
            "`make_train_set` must give batches for all steps.",
            last_step=logs["step"],
        )
        check_variables(self.model, logs["step"], self._checkpoints)


def check_variables(
    model: keras.Model, step: int, checkpoints: Checkpoints
) -> None:
    """Raises `NonFiniteError` unless all variables are finite.

    Args:
        model: A compiled model.
        step: The step to name.
        checkpoints: Where the last good checkpoint is.
    """
    for variable in model.variables + model.optimizer.variables:
        is_float = "float" in variable.dtype
        if is_float and not ops.all(ops.isfinite(variable)):
            raise _error(f"variable {variable.path}", step, checkpoints)


def _error(name, step, checkpoints):
    steps = checkpoints.steps()
    last = checkpoints.path(steps[-1]) if steps else "none"
    return NonFiniteError(
        f"The {name} is not finite at step {step}. "
        f"Last good checkpoint: {last}."
    )

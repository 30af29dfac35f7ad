"""The callback that stops a training which has gone wrong."""

import math

import keras
import tensorflow as tf

from apps.training import state
from apps.training.checkpoints import Checkpoints
from apps.training.exits import NonFiniteError
from keras_xf.checks import check


class Guard(keras.callbacks.Callback):
    """Stops a training without numbers or without data.

    It stands before all callbacks that save something.

    Args:
        checkpoints: Where the last good checkpoint is.
        monitor: The metric that decides which model is the best.
    """

    def __init__(self, checkpoints: Checkpoints, monitor: str):
        super().__init__()
        self._checkpoints = checkpoints
        self._metrics = ("val_loss", monitor)
        self._batches = 0
        self._variables = None
        self._are_finite = None

    def set_model(self, model):
        super().set_model(model)
        self._variables = [
            variable
            for variable in model.variables + model.optimizer.variables
            if "float" in variable.dtype
        ]
        # One graph: an operation at a time would wait for each variable.
        self._are_finite = tf.function(self._find_finite)

    def on_epoch_begin(self, epoch, logs=None):
        self._batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self._batches = batch + 1
        # A running mean, which no later step makes finite again.
        self._check_finite(logs, "loss")

    def on_epoch_end(self, epoch, logs=None):
        # Keras would go on, with a warning and nothing to learn from.
        check(
            self._batches == self.params["steps"],
            "`make_train_set` must give batches for all steps.",
            last_step=logs["step"],
        )
        self.check_variables(logs["step"])
        for name in self._metrics:
            if name in logs:
                self._check_finite(logs, name)

    def check_variables(self, step: int) -> None:
        """Raises `NonFiniteError` unless all variables are finite.

        Args:
            step: The step to name.
        """
        for variable, is_finite in zip(
            self._variables, self._are_finite().numpy(), strict=True
        ):
            if not is_finite:
                raise self._error(f"variable {variable.path}", step)

    def _find_finite(self):
        return tf.stack(
            [
                tf.reduce_all(
                    [
                        tf.reduce_all(keras.ops.isfinite(value))
                        for value in state.replica_values(variable)
                        or [variable]
                    ]
                )
                for variable in self._variables
            ]
        )

    def _check_finite(self, logs, name):
        if not math.isfinite(logs[name]):
            raise self._error(name, logs["step"])

    def _error(self, name, step):
        steps = self._checkpoints.steps()
        last = self._checkpoints.path(steps[-1]) if steps else "none"
        return NonFiniteError(
            f"The {name} is not finite at step {step}. "
            f"Last good checkpoint: {last}."
        )

"""Counts steps and seconds over all `fit` calls of a training."""

import time

import keras


class TrainingClock(keras.callbacks.Callback):
    """Counts steps and seconds, and tells them to the callbacks behind it.

    It adds `step` to the logs of every training batch, and `step`,
    `learning_rate` (of the next step) and `training_seconds` to those of every
    epoch; so it has to stand first in the list. The seconds run from the
    beginning of the first `fit`, with compilation, validation and saving.

    Args:
        step: Steps that were done before.
        seconds: Seconds that were spent before.

    Attributes:
        step: Steps done.
    """

    def __init__(self, step: int = 0, seconds: float = 0.0):
        super().__init__()
        self.step = step
        self._seconds_before = seconds
        self._began = None
        self._epoch_began_at_step = step

    @property
    def seconds(self) -> float:
        """Seconds of training until now."""
        if self._began is None:
            return self._seconds_before
        return self._seconds_before + time.monotonic() - self._began

    def on_train_begin(self, logs=None):
        if self._began is None:
            self._began = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_began_at_step = self.step

    def on_train_batch_end(self, batch, logs=None):
        # Not `step + 1`: with `steps_per_execution`, one call ends many steps.
        self.step = self._epoch_began_at_step + batch + 1
        logs["step"] = self.step

    def on_epoch_end(self, epoch, logs=None):
        logs["step"] = self.step
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["training_seconds"] = self.seconds

"""The callback that saves and restores a training, and ends it in time."""

import dataclasses

import keras
from absl import logging

from apps.training import state
from apps.training.checkpoints import Checkpoint
from apps.training.checkpoints import Checkpoints
from apps.training.ending import why_stop
from apps.training.exits import Preempted
from apps.training.guard import Guard
from apps.training.options import TrainingOptions
from apps.training.sigterm import Sigterm
from keras_xf.callbacks import TrainingClock


class Checkpointing(keras.callbacks.Callback):
    """Saves the whole state after every epoch, and when SIGTERM arrives.

    It stands last, because it saves what the callbacks before it have come to,
    and restores that after `fit` has reset them at its beginning.

    Args:
        options: The options.
        checkpoints: Where to save.
        clock: Counts steps and seconds.
        guard: Looks at the variables before they are saved within an epoch.
        sigterm: Knows whether SIGTERM has arrived.
        stateful: The callbacks whose state belongs to the training's.
        start: Where training begins, with no other arrays than those of the
            metrics of an epoch that was cut off.

    Attributes:
        stopped_because: Why training is over, as `why_stop` says.
    """

    def __init__(
        self,
        options: TrainingOptions,
        checkpoints: Checkpoints,
        *,
        clock: TrainingClock,
        guard: Guard,
        sigterm: Sigterm,
        stateful: list,
        start: Checkpoint,
    ):
        super().__init__()
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._guard = guard
        self._sigterm = sigterm
        self._stateful = stateful
        self._saved = start
        self._metrics = start.arrays
        state.assign_callbacks(stateful, start.callbacks)
        is_asked = start.stopped_because == "callback"
        self.stopped_because = self._why_stop(is_asked, start.seconds_per_step)

    def on_train_begin(self, logs=None):
        state.assign_callbacks(self._stateful, self._saved.callbacks)

    def on_epoch_begin(self, epoch, logs=None):
        # Keras has just reset the metrics, but an epoch that was cut off goes
        # on with what they had come to.
        if self._metrics:
            variables = state.metric_variables(self.model)
            state.assign_variables(
                variables, self._metrics, source="The checkpoint"
            )
            self._metrics = {}

    def on_train_batch_end(self, batch, logs=None):
        # After the last step of an epoch, `on_epoch_end` follows anyway.
        if self._sigterm.received and batch + 1 < self.params["steps"]:
            self._guard.check_variables(self._clock.step)
            self._save(state.metric_variables(self.model))
            self._leave()

    def on_epoch_end(self, epoch, logs=None):
        self.stopped_because = self._why_stop(
            self.model.stop_training, self._seconds_per_step()
        )
        self._save(metric_variables={})
        if self._sigterm.received:
            self._leave()
        if self.stopped_because is not None:
            self.model.stop_training = True

    def _why_stop(self, is_asked, seconds_per_step):
        return why_stop(
            self._options,
            step=self._clock.step,
            seconds=self._clock.seconds,
            seconds_per_step=seconds_per_step,
            is_asked=is_asked,
            callbacks=self._stateful,
        )

    def _save(self, metric_variables):
        variables = {**state.model_variables(self.model), **metric_variables}
        checkpoint = Checkpoint(
            step=self._clock.step,
            training_seconds=self._clock.seconds,
            seconds_per_step=self._seconds_per_step(),
            stopped_because=self.stopped_because,
            data_fingerprint=self._saved.data_fingerprint,
            callbacks=state.read_callbacks(self._stateful),
            arrays=state.read_variables(variables),
        )
        self._checkpoints.save(checkpoint)
        # The arrays are on the disk, and large.
        self._saved = dataclasses.replace(checkpoint, arrays={})

    def _seconds_per_step(self):
        seconds = self._clock.seconds - self._saved.training_seconds
        return seconds / (self._clock.step - self._saved.step)

    def _leave(self):
        logging.warning(
            "SIGTERM at step %d: the state is saved, the same command goes on",
            self._clock.step,
        )
        raise Preempted(self._clock.step)

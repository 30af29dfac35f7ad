"""Tells how far training is, on a terminal or in a log file."""

import datetime
import sys
import time
from collections.abc import Callable
from typing import TextIO

import keras

# Seconds between two drawings of the bar.
_REDRAW_SECONDS = 0.1
_BAR_WIDTH = 20


class Progress(keras.callbacks.Callback):
    """Shows steps, metrics, speed and time left.

    On a terminal that is a bar which redraws itself. Elsewhere it is a plain
    line every few steps, without control characters, which Keras's own bar
    writes into log files. Both write a line with all metrics after every epoch.

    The time left counts from the steps since this process began, without the
    first, which compiles; pauses for validation and saving are in it.

    Args:
        total_steps: Steps of the whole training.
        every_steps: Steps from line to line; 0 for lines after epochs alone.
        stream: Where to write; stderr by default.
        seconds_left: Returns the seconds that training may still take, where
            time ends it.
    """

    def __init__(
        self,
        total_steps: int,
        every_steps: int,
        stream: TextIO | None = None,
        seconds_left: Callable[[], float] | None = None,
    ):
        super().__init__()
        self.total_steps = total_steps
        self.every_steps = every_steps
        self._stream = stream
        self._seconds_left = seconds_left
        self._first = None
        self._drawn_at = -_REDRAW_SECONDS
        self._drawn_width = 0

    def on_train_batch_end(self, batch, logs=None):
        step, now = logs["step"], time.monotonic()
        if self._first is None:
            self._first = (step, now)
        if self._output.isatty():
            if now - self._drawn_at >= _REDRAW_SECONDS:
                self._drawn_at = now
                self._draw(f"{self._bar(step)} {self._line(step, logs)}")
        elif self.every_steps and step % self.every_steps == 0:
            self._output.write(f"{self._line(step, logs)}\n")
            self._output.flush()

    def on_epoch_end(self, epoch, logs=None):
        if self._output.isatty():
            self._draw("")
            self._output.write("\r")
            self._drawn_width = 0
        hidden = {"training_seconds": None, "learning_rate": None}
        line = self._line(logs["step"], {**logs, **hidden})
        self._output.write(f"{line}\n")
        self._output.flush()

    @property
    def _output(self):
        # Looked up at each use: test runners and notebooks exchange stderr.
        return self._stream or sys.stderr

    def _draw(self, text):
        self._output.write("\r" + text.ljust(self._drawn_width))
        self._output.flush()
        self._drawn_width = len(text)

    def _bar(self, step):
        filled = _BAR_WIDTH * step // self.total_steps
        return f"[{'=' * filled}{'.' * (_BAR_WIDTH - filled)}]"

    def _line(self, step, logs):
        parts = [f"step {step}/{self.total_steps}"]
        parts += [
            f"{name} {value:.4g}"
            for name, value in logs.items()
            if name != "step" and value is not None
        ]
        return " | ".join([*parts, *self._speed(step)])

    def _speed(self, step):
        if self._first is None:
            return []
        steps = step - self._first[0]
        seconds = time.monotonic() - self._first[1]
        # Some clocks tick slower than a fast step.
        if steps <= 0 or seconds <= 0:
            return []
        speed = steps / seconds
        left = (self.total_steps - step) / speed
        if self._seconds_left is not None:
            left = max(0, min(left, self._seconds_left()))
        return [
            f"{speed:.3g} steps/s",
            f"{datetime.timedelta(seconds=round(left))} left",
        ]

"""Tests of keras_xf.callbacks.TrainingClock."""

import keras
import numpy as np
import pytest

from keras_xf.callbacks import TrainingClock
from keras_xf.callbacks import training_clock


class Notes(keras.callbacks.Callback):
    """Notes what stands in the logs behind the clock."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self.epochs = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(logs["step"])

    def on_epoch_end(self, epoch, logs=None):
        names = ("step", "learning_rate", "training_seconds")
        self.epochs.append(tuple(logs[name] for name in names))


@pytest.fixture
def seconds(monkeypatch):
    """A list whose only element is the time."""
    now = [1000.0]
    monkeypatch.setattr(training_clock.time, "monotonic", lambda: now[0])
    return now


def fit(clock, *others, **compile_options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 8, 0.0)
    model.compile(keras.optimizers.SGD(schedule), "mse", **compile_options)
    for _ in range(2):
        model.fit(
            np.zeros((8, 2)),
            np.zeros((8, 1)),
            batch_size=2,
            callbacks=[clock, *others],
            verbose=0,
        )


def test_steps_and_seconds_count_on_over_several_fits(seconds):
    clock, notes = TrainingClock(step=100, seconds=50.0), Notes()
    assert (clock.step, clock.seconds) == (100, 50.0)

    class Wait(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seconds[0] += 5.0

    fit(clock, Wait(), notes)
    assert notes.batches == list(range(101, 109))
    # The rate falls from 1 to 0 in eight steps.
    expected = [(104, 0.5, 55.0), (108, 0.0, 60.0)]
    np.testing.assert_allclose(notes.epochs, expected, rtol=1e-6)
    assert (clock.step, clock.seconds) == (108, 60.0)


def test_a_call_that_runs_several_steps_counts_them_all():
    clock, notes = TrainingClock(), Notes()
    fit(clock, notes, steps_per_execution=2)
    assert notes.batches == [2, 4, 6, 8]

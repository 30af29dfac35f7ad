"""Tests of apps.training.ending."""

import keras
import pytest

from apps.training import TrainingOptions
from apps.training.ending import why_stop


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"step": 99}, None),
        ({"step": 100}, "finished"),
        ({"step": 101}, "finished"),
        ({"is_asked": True}, "callback"),
        ({"wait": 1}, None),
        ({"wait": 2}, "early_stopping"),
        ({"wait": 2, "is_asked": True}, "early_stopping"),
        ({"wait": 2, "is_asked": True, "step": 100}, "finished"),
        # Ten steps to the next checkpoint, two seconds each.
        ({"seconds": 80.0}, None),
        ({"seconds": 80.1}, "time"),
        # Four steps.
        ({"seconds": 92.0, "step": 26}, None),
        ({"seconds": 92.1, "step": 26}, "time"),
        # Five steps to the end.
        ({"seconds": 90.0, "step": 95, "train_steps": 100}, None),
        ({"seconds": 90.1, "step": 95, "train_steps": 100}, "time"),
        ({"seconds": 90.1, "max_train_seconds": None}, None),
    ],
)
def test_why_a_training_ends(changes, expected):
    arguments = {
        "step": 20,
        "seconds": 40.0,
        "wait": 0,
        "is_asked": False,
        "train_steps": 100,
        "max_train_seconds": 100.0,
        **changes,
    }
    stopping = keras.callbacks.EarlyStopping(patience=2)
    stopping.wait = arguments["wait"]
    options = TrainingOptions(
        run_dir="x",
        train_steps=arguments["train_steps"],
        save_every_steps=10,
        max_train_seconds=arguments["max_train_seconds"],
    )
    reason = why_stop(
        options,
        step=arguments["step"],
        seconds=arguments["seconds"],
        seconds_per_step=2.0,
        is_asked=arguments["is_asked"],
        callbacks=[keras.callbacks.History(), stopping],
    )
    assert reason == expected

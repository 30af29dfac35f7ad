"""Tests of keras_xf.callbacks.Progress."""

import io

import pytest

from keras_xf.callbacks import Progress
from keras_xf.callbacks import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def seconds(monkeypatch):
    """A list whose only element is the time."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def train(callback, seconds, num_steps, per_step):
    for step in range(1, num_steps + 1):
        seconds[0] += per_step
        callback.on_train_batch_end(0, {"step": step, "loss": 1 / step})
    logs = {"step": num_steps, "loss": 0.5, "val_loss": 0.25}
    logs |= {"learning_rate": 1e-3, "training_seconds": 9.0}
    callback.on_epoch_end(0, logs)


def test_a_log_file_gets_plain_lines(seconds):
    stream = io.StringIO()
    train(Progress(1000, 2, stream), seconds, num_steps=5, per_step=0.5)
    assert stream.getvalue() == (
        "step 2/1000 | loss 0.5 | 2 steps/s | 0:08:19 left\n"
        "step 4/1000 | loss 0.25 | 2 steps/s | 0:08:18 left\n"
        "step 5/1000 | loss 0.5 | val_loss 0.25 | 2 steps/s | 0:08:18 left\n"
    )


def test_lines_between_epochs_can_be_left_out(seconds):
    stream = io.StringIO()
    train(Progress(1000, 0, stream), seconds, num_steps=5, per_step=0.5)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_gets_one_line_that_is_drawn_again(seconds):
    stream = Terminal()
    train(Progress(10, 2, stream), seconds, num_steps=5, per_step=0.5)
    *bars, cleared, after = stream.getvalue().split("\r")[1:]
    assert [bar.rstrip() for bar in bars] == [
        "[==..................] step 1/10 | loss 1",
        "[====................] step 2/10 | loss 0.5 | 2 steps/s | "
        "0:00:04 left",
        "[======..............] step 3/10 | loss 0.3333 | 2 steps/s | "
        "0:00:04 left",
        "[========............] step 4/10 | loss 0.25 | 2 steps/s | "
        "0:00:03 left",
        "[==========..........] step 5/10 | loss 0.2 | 2 steps/s | "
        "0:00:02 left",
    ]
    # Each covers what was longer before it.
    assert len(bars[4]) >= len(bars[3].rstrip())
    assert cleared == " " * len(bars[-1].rstrip())
    assert after == (
        "step 5/10 | loss 0.5 | val_loss 0.25 | 2 steps/s | 0:00:02 left\n"
    )


def test_a_fast_training_does_not_draw_every_step(seconds):
    stream = Terminal()
    train(Progress(1000, 0, stream), seconds, num_steps=100, per_step=0.01)
    # One second, ten bars a second, and what stands behind the epoch.
    assert 10 <= stream.getvalue().count("step ") <= 12


def test_writes_to_stderr_by_default(seconds, capsys):
    train(Progress(10, 0), seconds, num_steps=1, per_step=1.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "step 1/10 | loss 0.5 | val_loss 0.25\n"

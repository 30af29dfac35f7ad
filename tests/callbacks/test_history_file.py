"""Tests of keras_xf.callbacks.HistoryFile."""

from keras_xf.callbacks import HistoryFile
from keras_xf.callbacks.history_file import read_history

FIRST = {"loss": 1 / 3, "step": 5, "training_seconds": 1.5}
SECOND = {"loss": 1e-30, "step": 10, "val_loss": 2.0, "training_seconds": 2.5}
THIRD = {"loss": float("inf"), "step": 15, "training_seconds": 3.5}


def write(path, *rows, last_step=0):
    callback = HistoryFile(path, last_step)
    for row in rows:
        callback.on_epoch_end(0, dict(row))
    return callback


def test_the_step_is_the_first_column_and_the_time_the_last(tmp_path):
    path = tmp_path / "history.csv"
    write(path, FIRST, SECOND)
    assert path.read_text().splitlines() == [
        "step,loss,val_loss,training_seconds",
        "5,0.3333333333333333,,1.5",
        "10,1e-30,2.0,2.5",
    ]


def test_what_is_read_is_what_was_written(tmp_path):
    rows = [FIRST, SECOND, THIRD]
    assert write(tmp_path / "history.csv", *rows).rows == rows
    assert read_history(tmp_path / "history.csv") == rows


def test_rows_behind_the_last_step_are_cut_at_once(tmp_path):
    path = tmp_path / "history.csv"
    write(path, FIRST, SECOND, THIRD)
    resumed = HistoryFile(path, last_step=10)
    assert read_history(path) == [FIRST, SECOND] == resumed.rows
    resumed.on_epoch_end(2, dict(THIRD))
    assert read_history(path) == [FIRST, SECOND, THIRD]


def test_a_new_run_begins_a_new_file(tmp_path):
    path = tmp_path / "history.csv"
    write(path, FIRST)
    write(path, SECOND)
    assert read_history(path) == [SECOND]

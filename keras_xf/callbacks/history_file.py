"""A CSV file with the metrics of every epoch."""

import csv
from pathlib import Path

import keras

from keras_xf.checks import check
from keras_xf.files import atomic_file


class HistoryFile(keras.callbacks.Callback):
    """Writes the logs of every epoch as one row of a CSV file.

    `step` is the first column and `training_seconds`, the only one that differs
    from run to run, the last; a metric that some rows lack is empty there. The
    file is replaced as a whole, so that it can be read at any time.

    Args:
        path: The CSV file.
        last_step: The step at which training goes on. Rows behind it, from a
            run that was cut off, are dropped.

    Attributes:
        rows: What the file holds, one dict of numbers per row.
    """

    def __init__(self, path: str | Path, last_step: int = 0):
        super().__init__()
        self.path = Path(path)
        found = read_history(self.path) if self.path.exists() else []
        self.rows = [row for row in found if row["step"] <= last_step]
        if self.rows != found:
            self._write()

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({**logs, "step": int(logs["step"])})
        self._write()

    def _write(self):
        metrics = {name: None for row in self.rows for name in row}
        for name in ("step", "training_seconds"):
            metrics.pop(name, None)
        columns = ["step", *metrics, "training_seconds"]
        with (
            atomic_file(self.path) as aside,
            aside.open("w", newline="") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def read_history(path: str | Path) -> list[dict[str, float]]:
    """Reads the rows of a `HistoryFile`, each without its empty columns.

    Args:
        path: The CSV file.

    Raises:
        ValueError: If it is not such a file.
    """
    try:
        with Path(path).open(newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        return [_read_row(row) for row in rows]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        check(
            False,
            "`path` must be a CSV file of numbers with a column step.",
            path=str(path),
            error=f"{type(error).__name__}: {error}",
        )


def _read_row(row):
    # A row that is too long has the rest in a list.
    numbers = {name: float(text) for name, text in row.items() if text}
    return {**numbers, "step": int(row["step"])}

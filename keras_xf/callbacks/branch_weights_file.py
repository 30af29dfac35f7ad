"""A CSV file with the branch weights over a training."""

import csv
from collections.abc import Callable
from pathlib import Path

import keras

from keras_xf.checks import check
from keras_xf.files import atomic_file

COLUMNS = ("step", "block", "weight", "branch", "value")


class BranchWeightsFile(keras.callbacks.Callback):
    """Writes what branches weigh, before the first epoch and after each.

    A row of the file is one number: its step, the block, "kappa" or "alpha",
    the branch and the value. The file is replaced as a whole, so that it can be
    read at any time. Steps are those of a `TrainingClock`, where one stands
    before it, else updates of the optimizer.

    Args:
        path: The CSV file.
        read: Gives the weights of a model, as `keras_xf.models.branch_weights`
            does, which it is in the models of this library.

    Attributes:
        steps: The steps that the file has.
        values: For each the numbers of all branches, in the order of the file.
            Both belong to a training's state.
    """

    def __init__(self, path: str | Path, read: Callable[[keras.Model], dict]):
        super().__init__()
        self.path = Path(path)
        self.read = read
        self.steps = []
        self.values = []

    def on_train_begin(self, logs=None):
        # It is called again where training goes on.
        if not self.steps:
            self._append(0)

    def on_epoch_end(self, epoch, logs=None):
        step = (logs or {}).get("step", self.model.optimizer.iterations)
        self._append(int(step))

    def _append(self, step):
        weights = self.read(self.model)
        names = [
            (block, which, branch)
            for block, both in weights.items()
            for which, values in both.items()
            for branch in range(len(values))
        ]
        self.steps.append(step)
        self.values.append(
            [
                float(weights[block][which][branch])
                for block, which, branch in names
            ]
        )
        with (
            atomic_file(self.path) as aside,
            aside.open("w", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for step, values in zip(self.steps, self.values, strict=True):
                for name, value in zip(names, values, strict=True):
                    writer.writerow([step, *name, value])


def read_branch_weights(path: str | Path) -> tuple[list[int], dict]:
    """Reads a file of `BranchWeightsFile`.

    Args:
        path: The CSV file.

    Returns:
        The steps; and for each block a dict of "kappa" and "alpha", for each of
        which there is a list per branch of its weights at the steps.

    Raises:
        ValueError: If it is not such a file.
    """
    steps, blocks = {}, {}
    try:
        with Path(path).open(newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                steps[int(row["step"])] = None
                block = blocks.setdefault(row["block"], {})
                branches = block.setdefault(row["weight"], {})
                branches.setdefault(int(row["branch"]), []).append(
                    float(row["value"])
                )
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        check(
            False,
            f"`path` must be a CSV file with the columns {', '.join(COLUMNS)}.",
            path=str(path),
            error=f"{type(error).__name__}: {error}",
        )
    return list(steps), {
        block: {which: list(found.values()) for which, found in both.items()}
        for block, both in blocks.items()
    }

"""The run directory: what training leaves and all that export reads."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from apps.training.options import TrainingOptions
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import load_options
from keras_xf.launch import save_options

# A run that goes on with other ones is no longer the run that began.
EXACT_OPTIONS = ("seed", "batch_size", "optimizer", "dtype_policy")


class RunDirectory:
    """Paths in a run directory.

    Attributes:
        path: The directory.
        options: `options.flags`, which repeats the run.
        model_json: `model.json`, the builder's name and arguments.
        history: `history.csv`, metrics by step.
        logs: `logs/`, for TensorBoard.
        checkpoints: `checkpoints/`, numbered by step.
        model: `model.keras`, the best model or the last.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.options = self.path / "options.flags"
        self.model_json = self.path / "model.json"
        self.history = self.path / "history.csv"
        self.logs = self.path / "logs"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model.keras"

    def read_model_json(self, flag: str = "run_dir") -> dict:
        """Reads the builder's name and arguments.

        Args:
            flag: The option that named the directory, for the error message.

        Raises:
            ValueError: If the file does not hold them.
        """
        try:
            content = json.loads(self.model_json.read_text(encoding="utf-8"))
        except ValueError:
            content = None
        check(
            isinstance(content, dict)
            and "builder" in content
            and isinstance(content.get("arguments"), dict),
            f"`{flag}` must have a model.json that holds a `builder` and its "
            "`arguments`.",
            path=str(self.model_json),
        )
        return content

    def check_trained(self, kind: str, *files: str) -> None:
        """Makes sure that a training has been here.

        Args:
            kind: What was trained, for the error message.
            *files: What it has left beside what each training leaves.

        Raises:
            ValueError: If a file is missing.
        """
        others = [self.path / name for name in files]
        for path in (self.options, self.model_json, self.model, *others):
            check(
                path.exists(),
                f"`run_dir` must hold a trained {kind}.",
                run_dir=str(self.path),
                missing=path.name,
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory and keeps other processes from training in it.

        A directory that was made here goes again where an error comes before
        anything is written.

        Raises:
            ValueError: If another process does.
        """
        is_new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with _locked(self.path):
                yield
        except BaseException:
            if is_new and not any(self.path.iterdir()):
                self.path.rmdir()
            raise

    def check(self, options: TrainingOptions, model_json: dict) -> None:
        """Makes sure that the directory holds no other run.

        Args:
            options: The options of a training. What may change is logged.
            model_json: Name and arguments of the model's builder.

        Raises:
            ValueError: If the directory holds a run of another model, or of
                options that make it another run.
        """
        if self.model_json.exists():
            check_same_model(
                "`run_dir` must not hold a run of another model.",
                self.read_model_json(),
                model_json,
            )
        if self.options.exists():
            _check_options(load_options(type(options), self.options), options)

    def write(self, options: TrainingOptions, model_json: dict) -> None:
        """Writes `options.flags` and `model.json`."""
        with atomic_file(self.options) as aside:
            save_options(options, aside)
        with atomic_file(self.model_json) as aside:
            aside.write_text(json.dumps(model_json, indent=1) + "\n")


def as_json(value: dict) -> dict:
    """Returns a value as it is read back: a tuple would differ from a list."""
    return json.loads(json.dumps(value))


def check_equal(requirement: str, before: dict, now: dict) -> None:
    """Raises `ValueError` that names the entries which differ.

    Args:
        requirement: As `checks.check` takes it.
        before: Entries that were.
        now: Entries that are.
    """
    differences = _differences(before, now)
    check(
        not differences,
        f"{requirement} These differ, there and here.",
        **differences,
    )


def check_same_model(requirement: str, before: dict, now: dict) -> None:
    """Raises `ValueError` that names in what two models differ.

    Args:
        requirement: As `checks.check` takes it.
        before: Name and arguments of the builder, as read from `model.json`.
        now: Name and arguments of the builder.
    """
    now = as_json(now)
    check_equal(
        requirement,
        {"builder": before["builder"], **before["arguments"]},
        {"builder": now["builder"], **now["arguments"]},
    )


def _differences(before, now):
    """Returns pairs of what differs, by name."""
    pairs = {
        name: (before.get(name, "missing"), now.get(name, "missing"))
        for name in before | now
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _check_options(before, now):
    before, now = dataclasses.asdict(before), dataclasses.asdict(now)
    check_equal(
        "`run_dir` must not hold a run whose course was another.",
        {name: before[name] for name in EXACT_OPTIONS},
        {name: now[name] for name in EXACT_OPTIONS},
    )
    for name, (old, new) in _differences(before, now).items():
        logging.info("`%s` was %r and is %r now", name, old, new)


@contextlib.contextmanager
def _locked(path):
    """Holds a lock on a directory. The system drops it with the process."""
    if os.name != "posix":
        yield
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        except BlockingIOError:
            is_free = False
        check(
            is_free,
            "`run_dir` must not be in use by another process.",
            run_dir=str(path),
        )
        yield
    finally:
        os.close(descriptor)

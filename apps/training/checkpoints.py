"""Checkpoints: numbered folders that hold a training's whole state."""

import dataclasses
import errno
import io
import itertools
import json
import lzma
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from absl import logging

from keras_xf.checks import check
from keras_xf.files import sync

_ARRAYS = "state.npz"
_MANIFEST = "manifest.json"
# Folders that are being written or deleted. No number is read from such a name.
_ASIDE = ".aside-"
# Folders of checkpoints that could not be read, for whoever wants to look.
_BROKEN = "broken-"
# What files that are cut off or damaged raise. Not all errors: what fails now
# for lack of memory, or of a file server, may be read the next time.
_DAMAGE = (
    *(ValueError, TypeError, KeyError, EOFError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    # Of a member that claims to be encrypted.
    RuntimeError,
)
# A damaged archive sends to places before the file's beginning, and claims to
# be packed by bzip2, whose errors have no number.
_DAMAGE_NUMBERS = (None, errno.ENOENT, errno.ENOTDIR, errno.EINVAL)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training. Without arguments, that of a new one.

    Attributes:
        step: Steps done.
        training_seconds: Seconds spent.
        seconds_per_step: As measured since the checkpoint before.
        stopped_because: Why training is over; None if it is not.
        data_fingerprint: What identifies the data.
        callbacks: State of the callbacks, as JSON values.
        arrays: Values of all variables, by name.
    """

    step: int = 0
    training_seconds: float = 0.0
    seconds_per_step: float = 0.0
    stopped_because: str | None = None
    data_fingerprint: dict = dataclasses.field(default_factory=dict)
    callbacks: dict = dataclasses.field(default_factory=dict)
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of a run.

    Each is a folder named after its step, with `state.npz` (all variables) and
    `manifest.json` (name, shape and dtype of each, and what else belongs to the
    state). A folder appears when it is whole and on the disk.

    Args:
        directory: The folder that holds them.
        keep: How many of the newest stay.
    """

    def __init__(self, directory: str | Path, keep: int = 1):
        self.directory = Path(directory)
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of all checkpoints, in order."""
        if not self.directory.is_dir():
            return []
        names = (path.name for path in self.directory.iterdir())
        return sorted(int(name) for name in names if name.isdecimal())

    def path(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.directory / str(step)

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and deletes those that are one too many."""
        self.remove_debris()
        aside = self.directory / f"{_ASIDE}{checkpoint.step}"
        aside.mkdir(parents=True)
        # A file, not a path, so that NumPy adds no ending.
        with (aside / _ARRAYS).open("wb") as file:
            np.savez(
                file,
                **{n: _to_stored(a) for n, a in checkpoint.arrays.items()},
            )
        manifest = vars(checkpoint) | {
            "arrays": {
                name: {"shape": array.shape, "dtype": str(array.dtype)}
                for name, array in checkpoint.arrays.items()
            }
        }
        (aside / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        for path in (aside / _ARRAYS, aside / _MANIFEST, aside):
            sync(path)
        # Training did not begin at these.
        for step in self.steps():
            if step >= checkpoint.step:
                self._put_aside(step)
        aside.replace(self.path(checkpoint.step))
        sync(self.directory)
        for step in self.steps()[: -self.keep]:
            self._remove(step)

    def load_newest(self) -> Checkpoint | None:
        """Reads the newest checkpoint that is whole, None if there is none.

        A checkpoint that a failing disk or a full one left broken is passed
        over with a warning. Where there is a whole one before it, it is put
        aside in a folder `broken-<step>`.

        Raises:
            ValueError: If there are checkpoints, and all are broken.
            OSError: If one cannot be read for now.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                found = self._load(step)
            except (*_DAMAGE, OSError) as error:
                if getattr(error, "errno", None) not in _DAMAGE_NUMBERS:
                    raise
                logging.warning(
                    "passing over the broken checkpoint %s (%s: %s)",
                    self.path(step),
                    type(error).__name__,
                    error,
                )
                continue
            for later in steps[steps.index(step) + 1 :]:
                self._put_aside(later)
            return found
        check(
            not steps,
            "`run_dir` must have a checkpoint that is whole. Delete the broken "
            "ones to begin anew.",
            checkpoints=str(self.directory),
            steps=steps,
        )
        return None

    def load(self, step: int) -> Checkpoint:
        """Reads the checkpoint of a step.

        Raises:
            ValueError: If it is not whole.
        """
        try:
            return self._load(step)
        except _DAMAGE as error:
            check(
                False,
                "`checkpoints` must be whole.",
                path=str(self.path(step)),
                error=f"{type(error).__name__}: {error}",
            )

    def remove_debris(self) -> None:
        """Deletes what writers and deleters that died have left."""
        for path in self.directory.glob(f"{_ASIDE}*"):
            shutil.rmtree(path)

    def _load(self, step):
        manifest = json.loads((self.path(step) / _MANIFEST).read_text())
        # Read here: NumPy would believe an array's shape before the checksum.
        with zipfile.ZipFile(self.path(step) / _ARRAYS) as archive:
            arrays = {
                name: _from_stored(
                    np.load(io.BytesIO(archive.read(f"{name}.npy"))), **entry
                )
                for name, entry in manifest["arrays"].items()
            }
        return Checkpoint(**(manifest | {"arrays": arrays}))

    def _remove(self, step):
        # Renamed first: a folder with a number is never half there.
        aside = self.directory / f"{_ASIDE}old-{step}"
        self.path(step).replace(aside)
        shutil.rmtree(aside)

    def _put_aside(self, step):
        names = itertools.chain(
            [f"{_BROKEN}{step}"],
            (f"{_BROKEN}{step}-{count}" for count in itertools.count(2)),
        )
        paths = (self.directory / name for name in names)
        self.path(step).replace(next(p for p in paths if not p.exists()))


def _to_stored(array):
    # NumPy's files do not know bfloat16 and its like.
    if array.dtype.kind == "V":
        return np.frombuffer(array.tobytes(), np.uint8)
    return array


def _from_stored(array, shape, dtype):
    if array.dtype != np.dtype(dtype):
        array = np.frombuffer(array.tobytes(), dtype)
    return array.reshape(shape)

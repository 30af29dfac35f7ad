"""What a run directory holds, to compare with another's."""

import json
import zipfile

import h5py
import numpy as np


def checkpoint_steps(run_dir):
    names = [path.name for path in (run_dir / "checkpoints").iterdir()]
    return sorted(int(name) for name in names)


def read_checkpoint(run_dir, step):
    """Everything in a checkpoint but the times and the planted fault."""
    folder = run_dir / "checkpoints" / str(step)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["training_seconds"], manifest["seconds_per_step"]
    manifest["callbacks"].pop("Fault#1", None)
    with np.load(folder / "state.npz") as arrays:
        return manifest, {name: arrays[name].tobytes() for name in arrays}


def read_history(run_dir):
    """The rows of the file as text, without their last column, the time."""
    header, *rows = (run_dir / "history.csv").read_text().splitlines()
    assert header.endswith(",training_seconds")
    return [row.rpartition(",")[0] for row in [header, *rows]]


def read_best_model(run_dir):
    values = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            values[name] = item[()].tobytes()

    with (
        zipfile.ZipFile(run_dir / "model.keras") as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as weights,
    ):
        weights.visititems(note)
    assert values
    return values


def assert_same_end(run_dir, unbroken):
    steps = checkpoint_steps(unbroken)
    assert checkpoint_steps(run_dir) == steps[-2:]
    for step in steps[-2:]:
        assert read_checkpoint(run_dir, step) == read_checkpoint(unbroken, step)
    assert read_history(run_dir) == read_history(unbroken)
    assert read_best_model(run_dir) == read_best_model(unbroken)

"""Weights that a new run begins with."""

from pathlib import Path

import keras

from apps.training import state
from apps.training.run_directory import RunDirectory
from keras_xf.checks import check


def load_initial_weights(model: keras.Model, path: str | Path) -> None:
    """Gives a model the weights of another run, and nothing else of it.

    Args:
        model: The model.
        path: A run directory, whose `model.keras` is taken, or a `.keras` file.

    Raises:
        ValueError: If there is no such file, or its weights do not fit.
    """
    file = RunDirectory(path).model if Path(path).is_dir() else Path(path)
    check(
        file.is_file() and file.suffix == ".keras",
        "`init_from` must be a .keras file or a run directory with a "
        "model.keras.",
        init_from=str(path),
    )
    other = keras.saving.load_model(file, compile=False)
    # Not `variables`: the state of seeds is no weight.
    state.assign_variables(
        state.named_variables("model", model.weights),
        state.read_variables(state.named_variables("model", other.weights)),
        source="`init_from`",
    )

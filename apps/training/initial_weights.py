"""Weights that a new run begins with."""

from pathlib import Path

import keras

from apps.training import state
from apps.training.model_file import load_model
from apps.training.run_directory import RunDirectory
from apps.training.run_directory import check_same_model
from keras_xf.checks import check


def load_initial_weights(
    model: keras.Model, path: str | Path, model_json: dict
) -> None:
    """Gives a model the weights of another run, and nothing else of it.

    Args:
        model: The model.
        path: A run directory, whose `model.keras` is taken, or a `.keras` file.
        model_json: Name and arguments of the model's builder.

    Raises:
        ValueError: If there is no such file, or its weights do not fit. Of a
            run directory the message tells in what the model is another.
    """
    run = RunDirectory(path)
    is_run = run.path.is_dir()
    file = run.model if is_run else Path(path)
    check(
        file.is_file() and file.suffix == ".keras",
        "`init_from` must be a .keras file or a run directory with a "
        "model.keras.",
        init_from=str(path),
    )
    other = load_model(file, "init_from")
    # What a model remembers of its training is no weight.
    model = getattr(model, "inner", model)
    # Not `variables`: the state of seeds is no weight.
    variables = state.named_variables("model", model.weights)
    arrays = state.read_variables(state.named_variables("model", other.weights))
    # Not all arguments say something of the weights, so these come first.
    if is_run and run.model_json.exists() and not state.fits(variables, arrays):
        check_same_model(
            "`init_from` must not be a run of another model.",
            run.read_model_json("init_from"),
            model_json,
        )
    state.assign_variables(variables, arrays, source="`init_from`")

r"""Averages the weights of a run's last checkpoints.

Usage:

    python -m apps.translation.average_checkpoints --run_dir=runs/mine --last=8

Writes `averaged.keras` into the run directory, which `evaluate` and `translate`
take as their `--model_file`. Train with as many `--keep_checkpoints`. Branch
weights of a weighted_transformer stay on the simplex, as averages of points of
it do.
"""

import dataclasses

import keras
import numpy as np
from absl import logging

from apps.training import RunDirectory
from apps.training import state
from apps.training.checkpoints import Checkpoints
from keras_xf import models
from keras_xf.callbacks.best_model import save_for_inference
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option

AVERAGED = "averaged.keras"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the average."""

    run_dir: str = option("Run directory of a translation model.")
    last: int = option("How many checkpoints, the newest.", 3)
    newest_step: int | None = option(
        "Only checkpoints up to this step; all if none.", None
    )
    output: str | None = option(
        "Where the model goes; averaged.keras in the run directory if none.",
        None,
    )

    def __post_init__(self):
        check(self.last > 0, "`last` must be positive.", last=self.last)


def average(options: Options) -> keras.Model:
    """Averages, in float64, and writes the model.

    Args:
        options: The options.

    Returns:
        The model.

    Raises:
        ValueError: If there are not as many checkpoints.
    """
    run = RunDirectory(options.run_dir)
    run.check_trained("translation model")
    checkpoints = Checkpoints(run.checkpoints)
    steps = [
        step
        for step in checkpoints.steps()
        if options.newest_step is None or step <= options.newest_step
    ][-options.last :]
    check(
        len(steps) == options.last,
        "`last` must not be more than the run has checkpoints.",
        last=options.last,
        newest_step=options.newest_step,
        steps=steps,
    )
    model = models.build(run.read_model_json())
    variables = state.named_variables("model", model.variables)
    means = {}
    for step in steps:
        arrays = checkpoints.load(step).arrays
        for name in variables:
            # Seeds and counters, of which there is no mean, are the newest's.
            is_float = np.issubdtype(arrays[name].dtype, np.floating)
            if is_float and name in means:
                means[name] += arrays[name] / len(steps)
            elif is_float:
                means[name] = arrays[name].astype("float64") / len(steps)
            else:
                means[name] = arrays[name]
    means = {
        name: np.asarray(means[name], variable.dtype)
        for name, variable in variables.items()
    }
    state.assign_variables(variables, means, source="The checkpoints")
    output = options.output or run.path / AVERAGED
    save_for_inference(model, output)
    logging.info("averaged steps %s into %s", steps, output)
    return model


if __name__ == "__main__":
    launch(Options, average)

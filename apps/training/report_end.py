"""What a program tells when its training is over."""

from absl import logging

from apps.training.fit import Result
from apps.training.learning_curve import plot_learning_curve
from apps.training.run_directory import RunDirectory


def report_end(run_dir: str, result: Result, metric: str | None = None) -> None:
    """Draws the learning curve into the run directory, and logs the end.

    Args:
        run_dir: The run directory.
        result: What `fit` returned.
        metric: The metric to draw, as `plot_learning_curve` takes it.
    """
    run = RunDirectory(run_dir)
    plot_learning_curve(
        run.history, run.path / "learning_curve.png", metric=metric
    )
    logging.info(
        "%s after %d steps and %.0f seconds of training, in %s",
        result.stopped_because,
        result.step,
        result.training_seconds,
        run.path,
    )

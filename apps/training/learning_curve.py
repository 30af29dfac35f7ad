"""The learning curve as a picture."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from keras_xf.callbacks.history_file import read_history
from keras_xf.checks import check
from keras_xf.files import atomic_file


def check_can_plot(path: str | Path, flag: str = "run_dir") -> None:
    """Makes sure, before the work begins, that its end will not fail.

    Args:
        path: The directory where the picture will be.
        flag: The option that names it, for the error message.

    Raises:
        ValueError: If matplotlib is missing.
    """
    check(
        importlib.util.find_spec("matplotlib"),
        f"`{flag}` gets a picture, which needs matplotlib: "
        "pip install 'keras_xf[apps]'.",
        **{flag: str(path)},
    )


def plot_learning_curve(
    history: str | Path,
    path: str | Path,
    metric: str | None = None,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Draws a metric of training and validation over the steps.

    Needs matplotlib, which the extra `apps` installs.

    Args:
        history: A `history.csv`.
        path: The `.png` file.
        metric: The column to draw, with `val_` before its name for the
            validation. By default the first whose name speaks of bits, else
            the loss.
        levels: Values to compare with, by name, drawn as lines across.

    Raises:
        ValueError: If the history has no rows or no such column.
    """
    # Here, since it takes a second and the rest of training does without it.
    from matplotlib.figure import Figure

    rows = read_history(history)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if metric is None:
        in_bits = [n for n in names if "bits" in n and "val_" not in n]
        metric = (in_bits or ["loss"])[0]
    check(
        metric in names,
        "`metric` must be a column of the history.",
        metric=metric,
        columns=names,
    )
    # Not `pyplot`, whose windows and state a program should not touch.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        title="Learning curve",
        xlabel="training step",
        ylabel=metric.replace("_", " "),
    )
    for name, label in ((metric, "training"), (f"val_{metric}", "validation")):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            # One point alone has no line.
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
    for place, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color=f"C{place + 2}", linestyle="--", label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=150)

r"""Draws how good translations are against steps and against seconds.

Usage:

    python -m benchmarks.translation_plot \
        --run_dirs=translation_transformer_0-1a2b,translation_weighted_0-3c4d

Reads `history.csv` of each run, and `bleu.csv` that `benchmarks.translations`
wrote. A run's name, up to a hyphen, is its label.
"""

import csv
import dataclasses
from pathlib import Path

from benchmarks.translations import CURVE
from keras_xf.callbacks.history_file import read_history
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import option

METRIC = "val_bits_per_token"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    run_dirs: tuple[str, ...] = option("Run directories of translations.")
    plot: str = option("The picture.", "benchmarks/results/translation.png")


def draw(options: Options) -> None:
    """Draws validation and BLEU of all runs.

    Raises:
        ValueError: If a run was not measured.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    loss, steps, seconds = figure.subplots(1, 3)
    for run_dir in map(Path, options.run_dirs):
        path = run_dir / CURVE
        check(
            path.is_file(),
            f"`run_dirs` must be measured: each must have a {CURVE}.",
            run_dir=str(run_dir),
        )
        label = run_dir.name.split("-")[0].replace("_", " ")
        rows = read_history(run_dir / "history.csv")
        points = [(r["step"], r[METRIC]) for r in rows if METRIC in r]
        loss.plot(*zip(*points, strict=True), label=label)
        with path.open(newline="") as file:
            curve = [
                {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
        bleu = [row["bleu"] for row in curve]
        steps.plot([row["step"] for row in curve], bleu, "o-")
        times = [row["training_seconds"] / 60 for row in curve]
        seconds.plot(times, bleu, "o-")
    loss.set(
        xlabel="training step", ylabel="bits per token", title="Validation"
    )
    loss.legend()
    steps.set(xlabel="training step", ylabel="BLEU", title="Test, beam 5")
    seconds.set(
        xlabel="minutes of training", ylabel="BLEU", title="Test, beam 5"
    )
    for axes in (loss, steps, seconds):
        axes.grid(alpha=0.3)
    with atomic_file(options.plot) as aside:
        figure.savefig(aside, dpi=110)


if __name__ == "__main__":
    launch(Options, draw)

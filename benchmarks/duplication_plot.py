r"""Draws what models of the duplication task are right in.

Usage:

    python -m benchmarks.duplication_plot

Reads what `benchmarks.train` recorded of the configurations `duplication_*`,
and prints it as the Reformer paper has it in table 2.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import read_results
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import option

PREFIX = "duplication_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    results: str = option(
        "JSON lines of `benchmarks.train`.", "benchmarks/results/training.jsonl"
    )
    plot: str = option("The picture.", "benchmarks/results/duplication.png")


def draw(options: Options) -> None:
    """Prints the table and draws the lines."""
    latest = {
        record["configuration"]: record
        for record in read_results(options.results)
        if record["configuration"].startswith(PREFIX)
    }
    check(
        latest,
        "`results` must hold a training of the duplication task.",
        results=options.results,
    )
    print(duplication_table(list(latest.values())))
    plot_duplication(list(latest.values()), options.plot)


def duplication_table(records: Sequence[dict]) -> str:
    """Formats records as the paper's table: trained down, evaluated across.

    Args:
        records: Records as `benchmarks.train.run` returns them.

    Returns:
        A Markdown table of percents of symbols that are right.
    """
    evaluated = list(records[0]["result"])
    lines = [
        f"| trained \\ evaluated | {' | '.join(evaluated)} | steps | seconds |",
        "|---|" + "---|" * (len(evaluated) + 2),
    ]
    for record in records:
        last = record["last_history"] or {}
        cells = [f"{100 * record['result'][name]:.1f}" for name in evaluated]
        cells += [
            last.get("step", ""),
            f"{float(last['training_seconds']):.0f}" if last else "",
        ]
        lines.append(f"| {_trained(record)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot_duplication(records: Sequence[dict], path: str | Path) -> None:
    """Draws a line for each training.

    Args:
        records: As in `duplication_table`.
        path: The `.png` file.
    """
    # Here, since it is an extra that nothing else needs.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(
        title="Duplication: trained with one attention, judged with others",
        xlabel="attention when judged",
        ylabel="symbols that are right, percent",
    )
    for record in records:
        names, shares = zip(*record["result"].items(), strict=True)
        axes.plot(
            names,
            [100 * share for share in shares],
            marker="o",
            label=f"trained with {_trained(record)}",
        )
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=110)


def _trained(record):
    name = record["configuration"].removeprefix(PREFIX)
    return name.replace("lsh_", "LSH-")


if __name__ == "__main__":
    launch(Options, draw)

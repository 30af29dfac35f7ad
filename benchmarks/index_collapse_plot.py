r"""Draws how many codes autoencoders use, and how well they read them.

Usage:

    python -m benchmarks.index_collapse_plot

Reads what `benchmarks.index_collapse` recorded, the latest of each bottleneck
and data, and prints a table of each kind of data. Of each kind, records whose
options are not those of the last one are passed over, but for the number of
steps: what takes long for a step may have fewer.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.collapse_models import BOTTLENECKS
from benchmarks.results import read_results
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import option

# Of each kind of data how its loss is told, and the number that makes it so.
LOSSES = {
    "patches": ("squared error / variance", 1.0),
    "bytes": ("bits per byte", 1 / math.log(2)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    results: str = option(
        "JSON lines of `benchmarks.index_collapse`.",
        "benchmarks/results/index_collapse.jsonl",
    )
    plot: str = option("The picture.", "benchmarks/results/index_collapse.png")


def draw(options: Options) -> None:
    """Prints the tables and draws the lines."""
    recorded = read_results(options.results)
    last = {record["data"]: record["task"] for record in recorded}
    kinds = {kind: {} for kind in LOSSES}
    for record in recorded:
        if record["task"] == last[record["data"]]:
            kinds[record["data"]][record["bottleneck"]] = record
    kinds = {
        kind: [each[name] for name in BOTTLENECKS if name in each]
        for kind, each in kinds.items()
        if each
    }
    check(
        kinds,
        "`results` must hold an autoencoder's record.",
        results=options.results,
    )
    for kind, records in kinds.items():
        print(f"{kind}\n\n{collapse_table(records)}\n")
    plot_collapse(kinds, options.plot)


def collapse_table(records: Sequence[dict]) -> str:
    """Formats records of one kind of data.

    Args:
        records: Records as `benchmarks.index_collapse` appends them.

    Returns:
        A Markdown table, at the last steps that all have, if any, and at the
        end.
    """
    kind = records[0]["data"]
    told, factor = LOSSES[kind]
    common = set.intersection(
        *({row["step"] for row in record["history"]} for record in records)
    )
    # Runs of different length may have been judged at none alike.
    early = [max(common)] if common else []
    figures = ["active", "perplexity", told]
    if kind == "bytes":
        figures.append("bytes right")
    names = ["bottleneck"]
    names += [f"{name}, {step} steps" for step in early for name in figures]
    names += [*figures, "steps", "ms a step"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for record in records:
        history = record["history"]
        rows = [row for row in history if row["step"] in early]
        last = history[-1]
        cells = [record["bottleneck"].replace("_", " ")]
        for row in (*rows, last):
            cells += [
                f"{100 * row['active_fraction']:.1f} %",
                f"{row['perplexity']:,.0f}",
                f"{factor * row['loss']:.3f}",
            ]
            if kind == "bytes":
                cells.append(f"{100 * row['accuracy']:.1f} %")
        each = 1000 * last["seconds"] / last["step"]
        cells += [str(last["step"]), f"{each:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot_collapse(kinds: dict[str, Sequence[dict]], path: str | Path) -> None:
    """Draws a line for each bottleneck, a row for each kind of data.

    Args:
        kinds: Records by the kind of data.
        path: The `.png` file.
    """
    # Here, since it is an extra that nothing else needs.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4 * len(kinds)), layout="constrained")
    rows = figure.subplots(len(kinds), 3, squeeze=False)
    # The ten colors of matplotlib, and one more.
    colors = dict(
        zip(BOTTLENECKS, [*(f"C{n}" for n in range(10)), "black"], strict=True)
    )
    for (kind, records), row in zip(kinds.items(), rows, strict=True):
        told, factor = LOSSES[kind]
        for axes, name, title, scale in zip(
            row,
            ("active_fraction", "perplexity", "loss"),
            ("codes in use, percent", "joint perplexity", told),
            (100.0, 1.0, factor),
            strict=True,
        ):
            for record in records:
                history = record["history"]
                axes.plot(
                    [each["step"] for each in history],
                    [scale * each[name] for each in history],
                    color=colors[record["bottleneck"]],
                    marker=".",
                    linestyle="--"
                    if "restart" in record["bottleneck"]
                    else "-",
                    label=record["bottleneck"].replace("_", " "),
                )
            axes.set(title=f"{kind}: {title}", xlabel="steps", xscale="log")
            if name != "active_fraction":
                axes.set_yscale("log")
            axes.grid(alpha=0.3)
    figure.legend(
        *rows[0, 0].get_legend_handles_labels(), loc="outside right upper"
    )
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=110)


if __name__ == "__main__":
    launch(Options, draw)

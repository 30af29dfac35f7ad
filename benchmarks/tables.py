r"""Prints Markdown tables of what was recorded: the latest of each case.

Usage:

    python -m benchmarks.tables
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import read_results
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the tables."""

    timings: str = option(
        "JSON lines of `benchmarks.run`.", "benchmarks/results/timings.jsonl"
    )
    training: str = option(
        "JSON lines of `benchmarks.train`.", "benchmarks/results/training.jsonl"
    )


def main(options: Options) -> None:
    """Prints a table for each case, and one of all trainings."""
    tables = []
    if Path(options.timings).exists():
        sessions = {}
        for record in read_results(options.timings):
            # Later sessions replace earlier ones.
            session = sessions.setdefault(record["case"], [])
            if session and session[0]["time"] != record["time"]:
                session.clear()
            session.append(record)
        tables += map(timing_table, sessions.values())
    if Path(options.training).exists():
        latest = {
            record["configuration"]: record
            for record in read_results(options.training)
        }
        tables.append(training_table(list(latest.values())))
    print("\n\n".join(tables))


def timing_table(records: Sequence[dict]) -> str:
    """Formats one session's records of one case.

    Args:
        records: Records as `benchmarks.run.measure` returns them.

    Returns:
        A heading and a table. Ratios are to the first row, and to the first
        row that computes the same way: with XLA or without, with oneDNN or
        without. "Of the limit" is the time that the machine's own rates
        allow, in percent of the time that was taken.
    """
    first = records[0]
    machine = first["machine"]
    lines = [
        f"### {first['description']}",
        "",
        f"`{first['case']}`, {first['time'][:10]}, {machine['processor']}, "
        f"{machine['cores']} cores; matrix product "
        f"{first['product_flops_per_second'] / 1e9:.0f} GFLOP/s, copy "
        f"{first['copy_bytes_per_second'] / 1e9:.1f} GB/s; limit "
        f"{milliseconds(first['limit_seconds'])} ms; {first['rounds']} "
        f"rounds; {_versions(records)}",
        "",
        "| | ms, median (quartiles) | ratio (quartiles) | to its like "
        "(quartiles) | of the limit | peak memory, MiB |",
        "|---|---|---|---|---|---|",
        *map(_row, records),
    ]
    return "\n".join(lines)


def training_table(records: Sequence[dict]) -> str:
    """Formats records of trainings.

    Args:
        records: Records as `benchmarks.train.run` returns them.

    Returns:
        A table with a column for each figure that any of them reports.
    """
    figures = list(
        dict.fromkeys(name for record in records for name in record["result"])
    )
    has_clock = [(record["last_history"] or {}) for record in records]
    lines = [
        f"| | {' | '.join(figures)} | training, seconds | date, machine |",
        "|---|" + "---|" * (len(figures) + 2),
    ]
    for record, clock in zip(records, has_clock, strict=True):
        seconds = clock.get("training_seconds")
        cells = [
            f"{record['description']} (`{record['configuration']}`)",
            *(_figure(record["result"].get(name)) for name in figures),
            _figure(seconds and float(seconds)),
            f"{record['time'][:10]}, {record['machine']['processor']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _row(record):
    name = record["contestant"]
    if "error" in record:
        return f"| {name} | failed: {record['error']} | | | | |"
    low, high = map(milliseconds, record["quartiles_seconds"])
    ratio, like_ratio = (
        "{:.2f} ({:.2f} to {:.2f})".format(
            record[f"{prefix}ratio"], *record[f"{prefix}ratio_quartiles"]
        )
        if f"{prefix}ratio" in record
        else ""
        for prefix in ("", "like_")
    )
    if record["like"] == name:
        like_ratio = ""
    share = record["limit_seconds"] / record["median_seconds"]
    return (
        f"| {name} | {milliseconds(record['median_seconds'])} "
        f"({low} to {high}) | {ratio} | {like_ratio} | {percent(share)}% | "
        f"{record['peak_resident_bytes'] / 2**20:.0f} |"
    )


def _versions(records):
    versions = {
        f"{package} {version}": None
        for record in records
        for package, version in record.get("versions", {}).items()
    }
    return ", ".join(versions)


def _figure(value):
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def milliseconds(seconds: float) -> str:
    """Seconds as a figure of milliseconds."""
    number = 1e3 * seconds
    # Not `g` alone, which writes an exponent from a thousand on.
    return f"{number:.{'0f' if number >= 100 else '3g'}}"


def percent(share: float) -> str:
    """A share as a figure of percent."""
    number = 100 * share
    return f"{number:.{'0f' if number >= 10 else '2g'}}"


if __name__ == "__main__":
    launch(Options, main)

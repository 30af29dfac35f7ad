"""What was measured of layers of attention, as tables and as curves."""

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from benchmarks.attention_cases import DIRECTIONS
from benchmarks.attention_cases import SDPA
from benchmarks.results import read_results
from benchmarks.tables import milliseconds
from benchmarks.tables import percent
from keras_xf.files import atomic_file


def read_latest(path: str | Path) -> dict[str, list[dict]]:
    """Reads the latest session of each case.

    Args:
        path: JSON lines of `benchmarks.attention_curve`.

    Returns:
        Records, one a contestant, by case.
    """
    sessions = {}
    for record in read_results(path):
        session = sessions.setdefault(record["case"], [])
        if session and session[0]["time"] != record["time"]:
            session.clear()
        session.append(record)
    return sessions


def attention_tables(sessions: Mapping[str, Sequence[dict]]) -> str:
    """Formats sessions as tables, one for each curve of a contestant.

    Args:
        sessions: As `read_latest` returns them.

    Returns:
        For each direction and number of hashes a heading, a table of times
        with the ratios to the first two, a table of what the first ones
        reach of what the machine can do, and what they take a token.
    """
    parts = []
    for direction in DIRECTIONS:
        for num_hashes in _numbers_of_hashes(sessions):
            rows = _curve(sessions, direction, num_hashes)
            if rows:
                parts.append(_curve_tables(direction, num_hashes, rows))
    return "\n\n".join(parts)


def plot_attention(
    sessions: Mapping[str, Sequence[dict]], path: str | Path
) -> None:
    """Draws time a token against length, a panel for each of the tables.

    Args:
        sessions: As `read_latest` returns them.
        path: The `.png` file.
    """
    # Here, since it is an extra that nothing else needs.
    from matplotlib.figure import Figure

    numbers = _numbers_of_hashes(sessions)
    figure = Figure(
        figsize=(3.2 * len(numbers) + 2.2, 6.5), layout="constrained"
    )
    panels = figure.subplots(
        len(DIRECTIONS), len(numbers), sharex=True, sharey="row", squeeze=False
    )
    names = dict.fromkeys(
        record["contestant"] for each in sessions.values() for record in each
    )
    colors = {name: f"C{index % 10}" for index, name in enumerate(names)}
    lines = {}
    for row, direction in zip(panels, DIRECTIONS, strict=True):
        for axes, num_hashes in zip(row, numbers, strict=True):
            curve = _curve(sessions, direction, num_hashes)
            for name in colors:
                points = [
                    (length, 1e6 * records[name]["median_seconds"] / length)
                    for length, records in curve.items()
                    if "median_seconds" in records.get(name, {})
                ]
                if points:
                    (lines[name],) = axes.loglog(
                        *zip(*points, strict=True),
                        base=2,
                        color=colors[name],
                        linestyle="--" if "XLA" in name else "-",
                        marker=".",
                    )
            axes.set_title(f"{_kind(num_hashes)}, {DIRECTIONS[direction]}")
            axes.grid(alpha=0.3)
        row[0].set_ylabel("microseconds a token")
    for axes in panels[-1]:
        axes.set_xlabel("length")
    figure.legend(lines.values(), lines, loc="outside right center")
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=110)


def _numbers_of_hashes(sessions):
    return sorted(
        {records[0]["sizes"]["num_hashes"] for records in sessions.values()}
    )


def _kind(num_hashes):
    if not num_hashes:
        return "dense"
    return f"{num_hashes} hash{'es' if num_hashes > 1 else ''}"


def _curve(sessions, direction, num_hashes):
    """Records by length and contestant, from the shortest length on."""
    curve = {
        records[0]["sizes"]["length"]: {
            record["contestant"]: record for record in records
        }
        for records in sessions.values()
        if records[0]["task"] == direction
        and records[0]["sizes"]["num_hashes"] == num_hashes
    }
    return dict(sorted(curve.items()))


def _curve_tables(direction, num_hashes, rows):
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    # Ours without XLA and with it.
    ours = [name for name in names[:2] if name.startswith("keras_xf")]
    first = next(iter(next(iter(rows.values())).values()))
    machine = first["machine"]
    lines = [
        f"### {_kind(num_hashes).capitalize()}, {DIRECTIONS[direction]}",
        "",
        f"{first['time'][:10]}, {machine['processor']}, {machine['cores']} "
        f"cores. Milliseconds; in brackets how many times that of "
        f"{' and of '.join(ours)}.",
        "",
        f"| length | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for length, row in rows.items():
        cells = [_cell(row.get(name), row, ours) for name in names]
        lines.append(f"| {length} | {' | '.join(cells)} |")
    shown = [
        name
        for name in names
        # What it cannot do without is other than that of the case.
        if (name != SDPA or not num_hashes)
        and any("median_seconds" in row.get(name, {}) for row in rows.values())
    ]
    lines += [
        "",
        "Of what the machine can do, in percent: operations at the rate of a "
        "product of matrices, bytes at that of a copy; the larger is the limit "
        "that a layer is at. And the peak of memory, MiB, less what there was "
        "before.",
        "",
        "| length | limit, ms, by | " + " | ".join(shown) + " |",
        "|---|---|" + "---|" * len(shown),
    ]
    for length, row in rows.items():
        cells = [_shares(row.get(name)) for name in shown]
        lines.append(
            f"| {length} | {_limit(next(iter(row.values())))} | "
            f"{' | '.join(cells)} |"
        )
    return "\n".join([*lines, *_growth(rows, ours)])


def _cell(record, row, ours):
    if record is None:
        return ""
    if "error" in record:
        told = record["error"]
        return told if record.get("beyond_limits") else f"failed: {told}"
    ratios = [
        f"{record['median_seconds'] / row[name]['median_seconds']:.2f}"
        for name in ours
        if name != record["contestant"]
        and "median_seconds" in row.get(name, {})
    ]
    told = f" ({', '.join(ratios)})" if ratios else ""
    return milliseconds(record["median_seconds"]) + told


def _limits(record):
    """Seconds of all operations, and of all bytes, at the machine's rates."""
    return (
        record["flops"] / record["product_flops_per_second"],
        record["read_bytes"] / record["copy_bytes_per_second"],
    )


def _limit(record):
    seconds = dict(zip(("operations", "bytes"), _limits(record), strict=True))
    name = max(seconds, key=seconds.get)
    return f"{milliseconds(seconds[name])}, {name}"


def _shares(record):
    if record is None or "error" in record:
        return ""
    flops, moved = (
        percent(seconds / record["median_seconds"])
        for seconds in _limits(record)
    )
    memory = record["peak_resident_bytes"] - record["resident_bytes_before"]
    return f"{flops}, {moved}; {memory / 2**20:.0f}"


def _growth(rows, ours):
    """How much longer a token takes in long sequences than at 4096."""
    told = []
    for name in ours:
        seconds = {
            length: row[name]["median_seconds"] / length
            for length, row in rows.items()
            if "median_seconds" in row.get(name, {})
        }
        if 4096 in seconds and max(seconds) > 4096:
            longest = max(seconds)
            ratio = seconds[longest] / seconds[4096]
            told.append(f"{name} {ratio:.2f}")
    if not told:
        return []
    return ["", f"Time a token at {longest}, beside 4096: {', '.join(told)}."]

"""What was measured of evaluation with memories and windows, as tables."""

from collections.abc import Mapping
from collections.abc import Sequence

from benchmarks.evaluation_cases import OURS
from benchmarks.evaluation_cases import OURS_WINDOW
from benchmarks.tables import milliseconds
from benchmarks.tables import percent

# Table 9 of Dai et al. (2019).
PAPER = {800: 363, 1800: 773, 2800: 1409, 3800: 1874}
# What the paper's least ratio is of the attention length.
PAPER_SHARE = 0.43


def evaluation_tables(sessions: Mapping[str, Sequence[dict]]) -> str:
    """Formats sessions as tables, those of each model together.

    Args:
        sessions: Records of `benchmarks.evaluation_speed`, one a contestant,
            by case.

    Returns:
        For each model a table of times with the windows' segments, one of
        speed-ups, one of what is reached of the machine's limits, and one of
        tokens a second against the segment.
    """
    models = {}
    for records in sessions.values():
        sizes = records[0]["sizes"]
        model = f"{sizes['num_layers']} layers of {sizes['hidden_dim']}"
        place = sizes["length"], sizes["segment_length"]
        by_name = {record["contestant"]: record for record in records}
        models.setdefault(model, {})[place] = by_name
    return "\n\n".join(
        _model_tables(model, dict(sorted(rows.items())))
        for model, rows in models.items()
    )


def _model_tables(model, rows):
    # The first of each length with windows, all with one segment as a rule.
    equal = {
        place: row
        for place, row in rows.items()
        if any(record["method"] == "window" for record in row.values())
    }
    parts = []
    if equal:
        parts += [_times(model, equal), _speed_ups(equal, rows), _limits(equal)]
    parts.append(_segments(model, rows))
    return "\n\n".join(parts)


def _times(model, rows):
    first = next(iter(next(iter(rows.values())).values()))
    machine = first["machine"]
    names = _names(rows)
    lines = [
        f"### Evaluation, {model}",
        "",
        f"{first['time'][:10]}, {machine['processor']}, cores: "
        f"{machine['cores']}, clock: {machine['clock']}. Milliseconds a "
        f"predicted token; in brackets how many times that of {OURS} and of "
        f"{OURS} XLA, of a window that of {OURS_WINDOW} and of {OURS_WINDOW} "
        "XLA.",
        "",
        _header(rows),
    ]
    for name in names:
        cells = [_cell(row.get(name), row) for row in rows.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _speed_ups(rows, all_rows):
    """How many times faster a memory is than the window like it."""
    lines = [
        "How many times faster a memory is than the window of the same kind, "
        "and what that is of the attention length; at last the fastest of "
        f"{OURS} and {OURS} XLA with any segment beside other windows.",
        "",
        _header(rows),
    ]
    for name in _names(rows):
        window = _window_of(name)
        cells = [_speed_up(row, name, window) for row in rows.values()]
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    for window in (OURS_WINDOW, f"{OURS} Transformer window"):
        cells = [
            _best(row, window, all_rows, place) for place, row in rows.items()
        ]
        if any(cells):
            lines.append(f"| beside {window} | {' | '.join(cells)} |")
    paper = [
        f"{PAPER[length]} ({PAPER[length] / length:.2f})"
        if length in PAPER
        else ""
        for length, _ in rows
    ]
    least = [f"{PAPER_SHARE * length:.0f}" for length, _ in rows]
    lines.append(f"| the paper, one GPU | {' | '.join(paper)} |")
    lines.append(f"| {PAPER_SHARE} of the length | {' | '.join(least)} |")
    return "\n".join(lines)


def _limits(rows):
    lines = [
        "Of what the machine can do, in percent: operations at the rate of a "
        "product of matrices; bytes, of weights and memory, at that of a "
        "copy. And the peak of memory, MiB, less what there was before.",
        "",
        _header(rows),
    ]
    for name in _names(rows):
        cells = [_shares(row.get(name)) for row in rows.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _segments(model, rows):
    """Tokens a second with a memory, against the segment."""
    rows = {
        place: {
            name: record
            for name, record in row.items()
            if record["method"] != "window"
        }
        for place, row in rows.items()
    }
    names = _names(rows)
    lines = [
        f"Tokens a second with a memory, {model}; in brackets beside the "
        f"faster of {OURS} and {OURS} XLA.",
        "",
        f"| attention length | segment | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for (length, segment), row in rows.items():
        cells = [_rate(row.get(name), row) for name in names]
        lines.append(f"| {length} | {segment} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _header(rows):
    cells = [f"{length}, segment {segment}" for length, segment in rows]
    return f"| | {' | '.join(cells)} |\n|---|" + "---|" * len(cells)


def _names(rows):
    # In the order of where most took part.
    fullest = sorted(rows.values(), key=len, reverse=True)
    return list(dict.fromkeys(name for row in fullest for name in row))


def _window_of(name):
    """The name of the same with a window."""
    for kind in (" hidden states", ""):
        for mode in (" XLA", " torch.compile", ""):
            if name.endswith(kind + mode):
                return name[: len(name) - len(kind + mode)] + " window" + mode
    return None


def _seconds(row, name):
    return row.get(name, {}).get("seconds_per_token")


def _cell(record, row):
    if record is None:
        return ""
    if "error" in record:
        told = record["error"]
        return told if record.get("beyond_limits") else f"failed: {told}"
    ours = OURS_WINDOW if record["method"] == "window" else OURS
    ratios = [
        f"{record['seconds_per_token'] / _seconds(row, name):.2f}"
        for name in (ours, f"{ours} XLA")
        if name != record["contestant"] and _seconds(row, name)
    ]
    told = f" ({', '.join(ratios)})" if ratios else ""
    return milliseconds(record["seconds_per_token"]) + told


def _speed_up(row, name, window):
    memory, whole = _seconds(row, name), _seconds(row, window)
    if not memory or not whole:
        return ""
    length = row[name]["sizes"]["length"]
    return f"{whole / memory:.0f} ({whole / memory / length:.2f})"


def _best(row, window, rows, place):
    """The fastest memory of a length beside the faster of a window's kinds."""
    whole = _fastest(row, window)
    memories = [
        (seconds, segment)
        for (length, segment), other in rows.items()
        if length == place[0] and (seconds := _fastest(other, OURS))
    ]
    if not whole or not memories:
        return ""
    seconds, segment = min(memories)
    times = whole / seconds
    return f"{times:.0f} ({times / place[0]:.2f}), segment {segment}"


def _fastest(row, name):
    """Of a kind without XLA and with it."""
    both = (_seconds(row, name), _seconds(row, f"{name} XLA"))
    return min(filter(None, both), default=None)


def _shares(record):
    if record is None or "error" in record:
        return ""
    flops = record["flops"] / record["product_flops_per_second"]
    moved = record["read_bytes"] / record["copy_bytes_per_second"]
    memory = record["peak_resident_bytes"] - record["resident_bytes_before"]
    return (
        f"{percent(flops / record['median_seconds'])}, "
        f"{percent(moved / record['median_seconds'])}; {memory / 2**20:.0f}"
    )


def _rate(record, row):
    if record is None:
        return ""
    if "error" in record:
        return "failed"
    rate = 1 / record["seconds_per_token"]
    fastest = _fastest(row, OURS)
    told = f" ({rate * fastest:.2f})" if fastest else ""
    return f"{rate:.0f}{told}"

r"""Times layers of attention against the length, ours and peers' beside ours.

Usage:

    python -m benchmarks.attention_curve

    python -m benchmarks.attention_curve --lengths=4096 --hashes=1,8

A case is a layer at one length with one number of hashes, forward alone or with
all gradients; 0 hashes are dense attention. `benchmarks.run` says how times are
taken. A contestant that takes more time or memory than allowed is left out of
the case and of all longer ones like it. Each case appends one JSON object a
contestant to `--results`; all that is recorded is printed as tables and drawn
to `--plot`, with `--measure=false` nothing else is done.
"""

import dataclasses
from pathlib import Path

from absl import logging

from benchmarks.attention_cases import DIRECTIONS
from benchmarks.attention_cases import WORKERS
from benchmarks.attention_cases import attention_case
from benchmarks.attention_cases import case_name
from benchmarks.attention_tables import attention_tables
from benchmarks.attention_tables import plot_attention
from benchmarks.attention_tables import read_latest
from benchmarks.contestant import Limits
from benchmarks.results import append_results
from benchmarks.run import measure
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    lengths: tuple[int, ...] = option(
        "Tokens of the row.",
        (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536),
    )
    hashes: tuple[int, ...] = option(
        "Rounds of hashing; 0: dense.", (0, 1, 2, 4, 8)
    )
    directions: tuple[str, ...] = option(
        "What is computed.", tuple(DIRECTIONS), choices=tuple(DIRECTIONS)
    )
    contestants: tuple[str, ...] = option(
        "Who takes part; all of a case's if empty. A case's first always does.",
        (),
        choices=tuple(WORKERS),
    )
    measure: bool = option("Whether to measure.", True)
    missing: bool = option("Measure what is not recorded yet alone.", False)
    rounds: int = option("Rounds, each of every contestant.", 9)
    seconds: float = option("About how long each is timed in a round.", 0.5)
    case_seconds: float = option(
        "After so long, no round of a case begins but the first three.", 120.0
    )
    # What is allowed.
    max_seconds: float = option("Seconds of a call.", 60.0)
    max_gib: float = option("Resident memory of a contestant.", 18.0)
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/attention.jsonl"
    )
    plot: str | None = option(
        "Picture of the curves.", "benchmarks/results/attention.png"
    )

    def __post_init__(self):
        check(
            min(self.lengths, default=0) > 0,
            "`lengths` must be positive.",
            lengths=self.lengths,
        )
        check(
            min(self.hashes, default=-1) >= 0,
            "`hashes` must not be negative.",
            hashes=self.hashes,
        )
        for name in ("rounds", "seconds", "max_seconds", "max_gib"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})


def run(options: Options) -> None:
    """Measures, prints the tables and draws the curves."""
    if options.measure:
        for direction in options.directions:
            for num_hashes in options.hashes:
                _measure_lengths(direction, num_hashes, options)
    records = read_latest(options.results)
    print(attention_tables(records), flush=True)
    if options.plot is not None:
        plot_attention(records, options.plot)


def _measure_lengths(direction, num_hashes, options):
    """One curve of each contestant, from the shortest length on."""
    left_out = {}
    for length in sorted(options.lengths):
        name = case_name(direction, length, num_hashes)
        case = attention_case(direction, length, num_hashes)
        records = _recorded(name, options) if options.missing else []
        if not records:
            workers = {
                contestant: WORKERS[contestant]
                for index, contestant in enumerate(case.contestants)
                if not index
                or not options.contestants
                or contestant in options.contestants
            }
            logging.info("%s: %s", name, ", ".join(workers))
            records = measure(
                name,
                case,
                workers,
                options.rounds,
                options.seconds,
                limits=Limits(options.max_seconds, options.max_gib * 2**30),
                max_seconds=options.case_seconds,
                left_out=left_out,
            )
            append_results(options.results, records)
        left_out |= {
            record["contestant"]: record["error"]
            for record in records
            if record.get("beyond_limits")
        }


def _recorded(name, options):
    if not Path(options.results).exists():
        return []
    return read_latest(options.results).get(name, [])


if __name__ == "__main__":
    launch(Options, run)

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

from benchmarks.attention_cases import DIRECTIONS
from benchmarks.attention_cases import WORKERS
from benchmarks.attention_cases import attention_case
from benchmarks.attention_cases import case_name
from benchmarks.attention_tables import attention_tables
from benchmarks.attention_tables import plot_attention
from benchmarks.attention_tables import read_latest
from benchmarks.curve import CurveOptions
from benchmarks.curve import measure_curve
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CurveOptions):
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
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/attention.jsonl"
    )
    plot: str | None = option(
        "Picture of the curves.", "benchmarks/results/attention.png"
    )

    def __post_init__(self):
        CurveOptions.__post_init__(self)
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


def run(options: Options) -> None:
    """Measures, prints the tables and draws the curves."""
    if options.measure:
        for direction in options.directions:
            for num_hashes in options.hashes:
                cases = _cases(direction, num_hashes, options)
                measure_curve(cases, WORKERS, options)
    records = read_latest(options.results)
    print(attention_tables(records), flush=True)
    if options.plot is not None:
        plot_attention(records, options.plot)


def _cases(direction, num_hashes, options):
    """From the shortest length on."""
    for length in sorted(options.lengths):
        yield (
            case_name(direction, length, num_hashes),
            attention_case(direction, length, num_hashes),
        )


if __name__ == "__main__":
    launch(Options, run)

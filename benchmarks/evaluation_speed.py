r"""Times evaluation of a Transformer-XL against the attention length.

Usage:

    python -m benchmarks.evaluation_speed

    python -m benchmarks.evaluation_speed --lengths=800 --segments=128

With a memory a model takes a segment at a time, and each position sees as many
as the memory is long; with a window it takes a whole window for each token that
it predicts. Memory and segment together are as long as the window, the
attention length. Ours and its peers have equal weights, one stream, float32.

`benchmarks.run` says how times are taken. Windows take part beside the first of
`--segments` alone. A contestant that takes more time or memory than allowed is
left out of the case and of all longer ones. Each case appends one JSON object a
contestant to `--results`; all that is recorded is printed as tables, with
`--measure=false` nothing else is done.
"""

import dataclasses

from benchmarks.attention_tables import read_latest
from benchmarks.curve import CurveOptions
from benchmarks.curve import measure_curve
from benchmarks.evaluation_cases import SIZES
from benchmarks.evaluation_cases import WORKERS
from benchmarks.evaluation_cases import case_name
from benchmarks.evaluation_cases import contestant_work
from benchmarks.evaluation_cases import evaluation_case
from benchmarks.evaluation_tables import evaluation_tables
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CurveOptions):
    """Options of the program."""

    # What is measured.
    lengths: tuple[int, ...] = option(
        "Attention lengths.", (800, 1800, 2800, 3800)
    )
    segments: tuple[int, ...] = option(
        "Positions taken at once with a memory.", (128, 32, 64, 256, 512)
    )
    contestants: tuple[str, ...] = option(
        "Who takes part; all of a case's if empty. A case's first always does.",
        (),
        choices=tuple(WORKERS),
    )
    # Sizes.
    num_layers: int = option("Layers.", SIZES["num_layers"])
    hidden_dim: int = option("Width of the model.", SIZES["hidden_dim"])
    num_heads: int = option("Attention heads.", SIZES["num_heads"])
    intermediate_dim: int = option(
        "Width inside feed-forward.", SIZES["intermediate_dim"]
    )
    # How.
    rounds: int = option("Rounds, each of every contestant.", 5)
    max_gib: float = option("Resident memory of a contestant.", 8.0)
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/evaluation_speed.jsonl"
    )

    def __post_init__(self):
        CurveOptions.__post_init__(self)
        check(
            min(self.segments, default=0) > 0,
            "`segments` must be positive.",
            segments=self.segments,
        )
        # A memory without a place would be a window.
        check(
            min(self.lengths, default=0) > max(self.segments),
            "`lengths` must be greater than `segments`.",
            lengths=self.lengths,
            segments=self.segments,
        )

    def sizes(self) -> dict:
        """The sizes of the model."""
        names = ("num_layers", "hidden_dim", "num_heads", "intermediate_dim")
        return {**SIZES, **{name: getattr(self, name) for name in names}}


def run(options: Options) -> None:
    """Measures, and prints the tables."""
    if options.measure:
        for place, segment in enumerate(options.segments):
            cases = _cases(segment, windows=not place, options=options)
            measure_curve(cases, WORKERS, options, tell=_told)
    print(evaluation_tables(read_latest(options.results)), flush=True)


def _cases(segment, windows, options):
    """From the shortest length on."""
    for length in sorted(options.lengths):
        case = evaluation_case(length, segment, windows, options.sizes())
        yield case_name(case.sizes), case


def _told(record):
    """The record, with what the contestant's own work is."""
    record = {
        **record,
        **contestant_work(record["contestant"], record["sizes"]),
    }
    record["limit_seconds"] = max(
        record["flops"] / record["product_flops_per_second"],
        record["read_bytes"] / record["copy_bytes_per_second"],
    )
    if "median_seconds" in record:
        record["seconds_per_token"] = (
            record["median_seconds"] / record["tokens"]
        )
    return record


if __name__ == "__main__":
    launch(Options, run)

"""Measures a kind of case from the shortest length on, for its programs."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

from absl import logging

from benchmarks.attention_tables import read_latest
from benchmarks.cases import Case
from benchmarks.cases import Worker
from benchmarks.contestant import Limits
from benchmarks.results import append_results
from benchmarks.run import measure
from keras_xf.checks import check
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """Options of how a curve is measured; a program adds who takes part."""

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

    def __post_init__(self):
        for name in ("rounds", "seconds", "max_seconds", "max_gib"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})


def measure_curve(
    cases: Iterable[tuple[str, Case]],
    workers: Mapping[str, Worker],
    options: CurveOptions,
    tell: Callable[[dict], dict] = dict,
) -> None:
    """Measures the cases of a curve and appends what is found.

    A contestant that is beyond the limits in one is left out of the following.

    Args:
        cases: Names and cases, the shortest first.
        workers: Of all contestants.
        options: Options, which have `contestants` and `results` too.
        tell: Makes a record that is kept of one that is measured.
    """
    left_out = {}
    for name, case in cases:
        records = _recorded(name, options) if options.missing else []
        if not records:
            taking_part = {
                contestant: workers[contestant]
                for index, contestant in enumerate(case.contestants)
                if not index
                or not options.contestants
                or contestant in options.contestants
            }
            logging.info("%s: %s", name, ", ".join(taking_part))
            records = measure(
                name,
                case,
                taking_part,
                options.rounds,
                options.seconds,
                limits=Limits(options.max_seconds, options.max_gib * 2**30),
                max_seconds=options.case_seconds,
                left_out=left_out,
            )
            records = [tell(record) for record in records]
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

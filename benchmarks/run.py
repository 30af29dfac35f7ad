r"""Times cases: ours and its peers, interleaved in one session.

Usage:

    python -m benchmarks.run --cases=training_step,generation

Each contestant is a process of its own. In each round every one of them is
asked in turn, in an order that moves on by one, so that all meet the same
neighbors and the same moods of the machine; so are a matrix product and a copy
of memory, which say how far each is from what the machine can do.

Each case appends one JSON object a contestant to `--results` and prints a
table. Ratios are of medians: above 1, the contestant takes longer than the
case's first. `python -m benchmarks.tables` prints the tables of what was
recorded.
"""

import contextlib
import dataclasses
import datetime
import math
import statistics
import time
from collections.abc import Mapping

from absl import logging

from benchmarks.cases import CASES
from benchmarks.cases import WORKERS
from benchmarks.cases import Case
from benchmarks.cases import Worker
from benchmarks.contestant import Contestant
from benchmarks.contestant import ContestantError
from benchmarks.contestant import LimitError
from benchmarks.contestant import Limits
from benchmarks.environments import describe_machine
from benchmarks.results import append_results
from benchmarks.tables import timing_table
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option

# The machine's own rates take part under these names.
PRODUCT = "matrix product"
COPY = "memory copy"
PRODUCT_FLOPS = 2.0 * 2048**3
COPY_BYTES = 2.0 * 256 * 2**20
# However long they take: quartiles want no fewer.
LEAST_ROUNDS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the runner."""

    cases: tuple[str, ...] = option(
        "Cases to run.", ("training_step", "generation"), choices=tuple(CASES)
    )
    contestants: tuple[str, ...] = option(
        "Who takes part; all of a case's if empty. A case's first always does.",
        (),
        choices=tuple(WORKERS),
    )
    rounds: int = option("Rounds, each of every contestant.", 9)
    seconds: float = option("About how long each is timed in a round.", 0.5)
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/timings.jsonl"
    )


def run(options: Options) -> None:
    """Runs all cases, one after the other."""
    check(
        options.rounds > 0, "`rounds` must be positive.", rounds=options.rounds
    )
    check(
        options.seconds > 0,
        "`seconds` must be positive.",
        seconds=options.seconds,
    )
    for name in options.cases:
        case = CASES[name]
        workers = {
            contestant: WORKERS[contestant]
            for contestant in case.contestants
            if contestant == case.contestants[0]
            or not options.contestants
            or contestant in options.contestants
        }
        records = measure(name, case, workers, options.rounds, options.seconds)
        append_results(options.results, records)
        print(timing_table(records), flush=True)


def measure(
    name: str,
    case: Case,
    workers: Mapping[str, Worker],
    rounds: int,
    seconds: float,
    limits: Limits | None = None,
    max_seconds: float = math.inf,
    left_out: Mapping[str, str] | None = None,
) -> list[dict]:
    """Times one case.

    Args:
        name: The case's name.
        case: The case.
        workers: Contestants by name; the first is what the others are
            compared with.
        rounds: Rounds, each of every contestant.
        seconds: About how long each is timed in a round.
        limits: What a contestant may take.
        max_seconds: After this time no further round begins, save the first
            `LEAST_ROUNDS`.
        left_out: Why some need not even be started, by name: what they
            would take is known to be beyond the limits.

    Returns:
        One record a contestant, ready for JSON. A contestant that failed has
        an `error` instead of times, and `beyond_limits` says whether that is
        why.
    """
    machine = describe_machine()
    names = list(workers)
    with contextlib.ExitStack() as stack:
        contestants = {}
        errors = {
            name: LimitError(why) for name, why in (left_out or {}).items()
        }

        def start(contestant, *arguments, **options):
            try:
                contestants[contestant] = stack.enter_context(
                    contextlib.closing(
                        Contestant(contestant, *arguments, **options)
                    )
                )
            except (ContestantError, ValueError) as error:
                # Such as an environment that `make peers` has not made: the
                # others go on.
                logging.error("%s", error)
                errors[contestant] = error

        for contestant in names:
            if contestant in errors:
                continue
            logging.info("%s: preparing %s", name, contestant)
            worker = workers[contestant]
            start(
                contestant,
                worker.environment,
                worker.script,
                case.task,
                {**case.sizes, **worker.settings},
                worker.variables,
                limits=limits,
            )
        start(PRODUCT, "keras_xf", "machine.py", "product", {})
        start(COPY, "keras_xf", "machine.py", "copy", {})
        times, memory = _interleave(
            contestants, rounds, seconds, max_seconds, errors
        )
    for rate in (PRODUCT, COPY):
        if rate in errors:
            raise ContestantError(f"{rate}: {errors[rate]}")
    # At its best: what the machine can do, not what it did on average.
    peak_flops = PRODUCT_FLOPS / min(times[PRODUCT])
    copy_bytes = COPY_BYTES / min(times[COPY])
    shared = {
        "case": name,
        "description": case.description,
        "task": case.task,
        "sizes": dict(case.sizes),
        "flops": case.flops,
        "read_bytes": case.read_bytes,
        "rounds": len(times[COPY]),
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "machine": machine,
        "product_flops_per_second": peak_flops,
        "copy_bytes_per_second": copy_bytes,
        # The slower of the two bounds what any contestant can do.
        "limit_seconds": max(
            case.flops / peak_flops, case.read_bytes / copy_bytes
        ),
    }
    records = []
    for contestant in names:
        record = {**shared, "contestant": contestant}
        if contestant in errors:
            error = errors[contestant]
            record["error"] = str(error).splitlines()[-1]
            record["beyond_limits"] = isinstance(error, LimitError)
        else:
            facts = contestants[contestant].facts
            like = [
                other
                for other in names
                if workers[other].mode == workers[contestant].mode
            ]
            record |= {
                **_summarize(times[contestant], times.get(names[0])),
                # Beside the first that computes the same way.
                "like": like[0],
                **_compare("like_", times[contestant], times.get(like[0])),
                "versions": facts["versions"],
                "prepare_seconds": facts["prepare_seconds"],
                "resident_bytes_before": facts["resident_bytes"],
                **memory[contestant],
            }
        records.append(record)
    return records


def _interleave(contestants, rounds, seconds, max_seconds, errors):
    """Times contestants in turn.

    Returns:
        Median seconds of a call in each round, and what each tells of its
        memory, by contestant; who fails is moved to `errors`.
    """
    times = {name: [] for name in contestants}
    memory = {}
    names = list(contestants)
    start = time.monotonic()
    for round_index in range(rounds):
        is_late = time.monotonic() - start > max_seconds
        if is_late and round_index >= LEAST_ROUNDS:
            break
        logging.info("round %d of %d", round_index + 1, rounds)
        place = round_index % len(names)
        for name in names[place:] + names[:place]:
            if name in errors:
                continue
            contestant = contestants[name]
            calls = seconds / contestant.facts["seconds"]
            calls = min(max(round(calls), 1), 1000)
            try:
                times[name].append(statistics.median(contestant.time(calls)))
                memory[name] = contestant.memory()
            except ContestantError as error:
                logging.error("%s", error)
                errors[name] = error
                del times[name]
    return times, memory


def _summarize(times, first_times):
    """Figures of one contestant's rounds, beside the first's."""
    median = statistics.median(times)
    low, high = _quartiles(times)
    summary = {
        "median_seconds": median,
        "quartiles_seconds": [low, high],
        "least_seconds": min(times),
        "round_seconds": times,
    }
    return {**summary, **_compare("", times, first_times)}


def _compare(prefix, times, first_times):
    """The ratio to another one, and its quartiles over the rounds."""
    if first_times is None:
        return {}
    ratios = [
        one / first for one, first in zip(times, first_times, strict=True)
    ]
    return {
        f"{prefix}ratio": (
            statistics.median(times) / statistics.median(first_times)
        ),
        # Of one round each: how far moods of the machine carry.
        f"{prefix}ratio_quartiles": _quartiles(ratios),
    }


def _quartiles(values):
    if len(values) == 1:
        return [values[0], values[0]]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, high]


if __name__ == "__main__":
    launch(Options, run)

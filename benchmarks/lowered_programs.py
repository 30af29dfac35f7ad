r"""Lowers programs to StableHLO, and measures them without TensorFlow.

Usage:

    python -m benchmarks.lowered_programs --measure --lengths=128,256,512

    python -m benchmarks.lowered_programs --platform=GPU --preset=base \
        --store_arguments=false --out=runs/lowered_gpu

The first compiles each program with JAX on this machine's CPU, in a fresh
process, appends a JSON object a program to `--results` and prints a table of
the memory that the compiled programs take; it needs `make peers`. The second
writes folders to carry to a machine with a GPU, where with `benchmarks/workers`
beside them

    python run_lowered.py FOLDER... --results=results.jsonl

needs jax and numpy alone.
"""

import dataclasses
import datetime
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from absl import logging

from benchmarks import cases
from benchmarks import environments
from benchmarks.lowering import save
from benchmarks.program_cases import CASES
from benchmarks.program_cases import lower_case
from benchmarks.results import append_results
from keras_xf.checks import check
from keras_xf.launch import ProgramError
from keras_xf.launch import launch
from keras_xf.launch import option

RUNNER = Path(__file__).parent / "workers" / "run_lowered.py"
PRESETS = {"small": cases.SMALL, "base": cases.BASE}
DEFAULT_PROGRAMS = (
    "training_step",
    "stock_training_step",
    "decode_step",
    "attention",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    programs: tuple[str, ...] = option(
        "What to lower.", DEFAULT_PROGRAMS, choices=tuple(CASES)
    )
    platform: Literal["CPU", "GPU"] = option("What to lower for.", "CPU")
    out: str = option("Folder for the programs.", "runs/lowered")
    store_arguments: bool = option(
        "Store large arguments; if not, they are drawn at each run.", True
    )
    # Sizes; those of the preset unless given.
    preset: Literal["small", "base"] = option(
        "3 layers 128 wide, or the 6 layers 512 wide of the paper.", "small"
    )
    vocabulary_size: int | None = option("Tokens of the vocabulary.", None)
    num_layers: int | None = option("Blocks.", None)
    hidden_dim: int | None = option("Width of the residual stream.", None)
    num_heads: int | None = option("Attention heads.", None)
    intermediate_dim: int | None = option("Width inside feed-forward.", None)
    dropout: float | None = option("Fraction dropped in training.", None)
    batch_size: int = option("Rows at once.", 16)
    lengths: tuple[int, ...] = option("Tokens of a row, each in turn.", (128,))
    num_hashes: int = option("Rounds of hashing of a Reformer.", 1)
    chunk_length: int = option("Positions of a chunk of LSH attention.", 64)
    feed_forward_chunk: int = option(
        "Positions at once of a Reformer's feed-forward; 0: all.", 0
    )
    dtype: str = option("Keras dtype policy.", "float32")
    # Measuring.
    measure: bool = option("Compile each in a fresh process.", False)
    run: bool = option(
        "Run it there, and here for what should come out; if not, only the "
        "memory of the compiled program is told.",
        True,
    )
    repeats: int = option("Samples of the time; 0 to time nothing.", 9)
    rates: bool = option("Measure what the machine can do, too.", True)
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/lowered.jsonl"
    )

    def __post_init__(self):
        check(
            self.batch_size > 0 and min(self.lengths, default=0) > 0,
            "`batch_size` and `lengths` must be positive.",
            batch_size=self.batch_size,
            lengths=self.lengths,
        )
        check(
            self.repeats >= 0,
            "`repeats` must not be negative.",
            repeats=self.repeats,
        )

    def sizes(self, length: int) -> dict:
        """The sizes of a model and a batch of some length."""
        preset = PRESETS[self.preset]
        given = {name: getattr(self, name) for name in preset}
        given = {name: x for name, x in given.items() if x is not None}
        return {
            **preset,
            **given,
            "batch_size": self.batch_size,
            "length": length,
            "num_hashes": self.num_hashes,
            "chunk_length": self.chunk_length,
            "feed_forward_chunk": self.feed_forward_chunk,
            "dtype": self.dtype,
        }


def lower_programs(options: Options) -> list[dict]:
    """Lowers all, and measures all if told to.

    Returns:
        What was measured of each program, as `run_lowered.py` prints it and
        with the machine beside it.
    """
    python = environments.find_python("jax") if options.measure else None
    records = []
    for length in options.lengths:
        for case in options.programs:
            logging.info("lowering %s, length %d", case, length)
            program = lower_case(case, options.sizes(length), options.platform)
            folder = save(
                program,
                Path(options.out) / program.name,
                store_arguments=options.store_arguments,
                with_expected=options.run,
            )
            if not options.measure:
                print(folder, flush=True)
                continue
            logging.info("measuring %s, length %d", case, length)
            record = measure(
                python,
                folder,
                run=options.run,
                repeats=options.repeats,
                rates=options.rates,
            )
            append_results(options.results, [record])
            records.append(record)
    if records:
        print(memory_table(records), flush=True)
    return records


def measure(
    python: str | Path, folder: Path, *, run: bool, repeats: int, rates: bool
) -> dict:
    """Compiles one program in a fresh process, and runs it.

    Args:
        python: An interpreter that has JAX.
        folder: The program.
        run: Whether to run it.
        repeats: Samples of the time.
        rates: Whether to measure the machine's own rates, too.

    Returns:
        What `run_lowered.py` prints, the machine, and the time of day.

    Raises:
        ProgramError: If it fails.
    """
    machine = environments.describe_machine()
    done = subprocess.run(
        [
            python,
            RUNNER,
            folder,
            f"--run={str(run).lower()}",
            f"--repeats={repeats}",
            f"--rates={str(rates).lower()}",
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        told = "\n".join(done.stderr.splitlines()[-40:])
        raise ProgramError(f"{told}\n{folder} could not be run.")
    return {
        **json.loads(done.stdout),
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "machine": machine,
    }


def memory_table(records: Sequence[dict]) -> str:
    """Formats what compiled programs take.

    Args:
        records: Records of `measure`.

    Returns:
        A Markdown table, a row for each case and a column for each length, of
        MiB of temporaries, and of arguments and results together.
    """
    lengths = sorted({record["sizes"]["length"] for record in records})
    rows = {}
    for record in records:
        memory = record["memory"]
        row = rows.setdefault(record["case"], {})
        row[record["sizes"]["length"]] = (
            f"{memory['temp'] / 2**20:.1f} + "
            f"{(memory['argument'] + memory['output']) / 2**20:.1f}"
        )
    heads = [f"length {length}" for length in lengths]
    return "\n".join(
        [
            f"| MiB: temporaries + arguments, results | {' | '.join(heads)} |",
            "|---|" + "---|" * len(lengths),
            *(
                f"| {case} | "
                f"{' | '.join(row.get(length, '') for length in lengths)} |"
                for case, row in rows.items()
            ),
        ]
    )


if __name__ == "__main__":
    launch(Options, lower_programs)

r"""Memory and time of a reversible stack against its depth.

Usage:

    python -m benchmarks.reversible_depth

For each depth a training step of a Reformer is lowered and compiled, with its
blocks reversible and not; memory and time are those of the same compiled
program. What a further block costs is the slope over the depths: nothing is
taken off for what it must keep, its weights' gradients and the buckets of its
LSH attention, since a program may do with them before or below its peak.
Appends a JSON object a program to `--results` and prints a table; needs
`make peers`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from benchmarks import environments
from benchmarks.lowered_programs import measure
from benchmarks.lowering import save
from benchmarks.program_cases import lower_case
from benchmarks.results import append_results
from benchmarks.tables import milliseconds
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option

CASES = {
    "reversible": "reformer_step",
    "not reversible": "irreversible_reformer_step",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    depths: tuple[int, ...] = option("Numbers of blocks.", (2, 4, 8, 12))
    length: int = option("Tokens of the sequence.", 4096)
    hidden_dim: int = option("Width of each stream.", 256)
    num_heads: int = option("Attention heads.", 4)
    intermediate_dim: int = option("Width inside feed-forward.", 1024)
    num_hashes: int = option("Rounds of hashing; 0: dense attention.", 1)
    chunk_length: int = option("Positions of a chunk of attention.", 64)
    feed_forward_chunk: int = option(
        "Positions at once of feed-forward; 0: all.", 0
    )
    dropout: float = option("Fraction dropped in training.", 0.0)
    run: bool = option("Time the programs; if not, their memory alone.", True)
    repeats: int = option("Samples of the time.", 5)
    out: str = option("Folder for the programs.", "runs/reversible_depth")
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/reversible.jsonl"
    )

    def __post_init__(self):
        check(
            len(set(self.depths)) > 1 and min(self.depths) > 0,
            "`depths` must be two positive numbers or more.",
            depths=self.depths,
        )

    def sizes(self, depth: int) -> dict:
        """The sizes of a model and a batch."""
        names = ("length", "hidden_dim", "num_heads", "intermediate_dim")
        names += ("num_hashes", "chunk_length", "feed_forward_chunk", "dropout")
        return {
            **{name: getattr(self, name) for name in names},
            "vocabulary_size": 256,
            "num_layers": depth,
            "batch_size": 1,
            "dtype": "float32",
        }


def run(options: Options) -> list[dict]:
    """Measures all, and returns a record of each program."""
    python = environments.find_python("jax")
    records = []
    for depth in options.depths:
        for case in CASES.values():
            logging.info("%s, %d blocks", case, depth)
            program = lower_case(case, options.sizes(depth), "CPU")
            folder = save(
                program,
                Path(options.out) / f"{program.name}_{depth}",
                with_expected=False,
            )
            record = measure(
                python,
                folder,
                run=options.run,
                repeats=options.repeats,
                rates=False,
            )
            append_results(options.results, [record])
            records.append(record)
    print(depth_table(records), flush=True)
    return records


def needed_bytes(sizes: dict) -> int:
    """Bytes that a block needs whatever is recomputed: gradients, buckets."""
    dim, wide = sizes["hidden_dim"], sizes["intermediate_dim"]
    num_kernels = 3 if sizes["num_hashes"] else 4
    weights = num_kernels * dim**2 + 2 * dim * wide
    # Biases of the feed-forward; two norms.
    weights += wide + dim + 2 * 2 * dim
    buckets = sizes["num_heads"] * sizes["num_hashes"] * sizes["length"]
    return 4 * (weights + sizes["batch_size"] * buckets)


def depth_table(records: Sequence[dict]) -> str:
    """Formats records, all of the same sizes save the depth.

    Args:
        records: As `run` returns them, of both kinds at each depth.

    Returns:
        A Markdown table: temporaries at each depth, what a further block
        adds to them, and times.
    """
    by_kind = {
        kind: {
            record["sizes"]["num_layers"]: record
            for record in records
            if record["case"] == case
        }
        for kind, case in CASES.items()
    }
    depths = sorted(by_kind["reversible"])
    needed = needed_bytes(records[0]["sizes"])
    slopes = {
        kind: _slope(
            depths, [by_depth[depth]["memory"]["temp"] for depth in depths]
        )
        for kind, by_depth in by_kind.items()
    }
    heads = [f"{depth} blocks" for depth in depths]
    lines = [
        f"| MiB of temporaries; ms | {' | '.join(heads)} | a further block, "
        f"MiB; its gradients and buckets are {needed / 2**20:.2f} |",
        "|---|" + "---|" * (len(depths) + 1),
    ]
    for kind, by_depth in by_kind.items():
        cells = [_cell(by_depth[depth]) for depth in depths]
        lines.append(
            f"| {kind} | {' | '.join(cells)} | {slopes[kind] / 2**20:.2f} |"
        )
    ratios = [
        [_ratio(by_kind, depth, figure) for depth in depths]
        for figure in (_temporaries, _seconds)
    ]
    cells = [
        "; ".join(ratio for ratio in pair if ratio)
        for pair in zip(*ratios, strict=True)
    ]
    share = slopes["reversible"] / slopes["not reversible"]
    lines.append(f"| ratio | {' | '.join(cells)} | {100 * share:.1f}% |")
    return "\n".join(lines)


def _slope(depths, values):
    return float(np.polyfit(depths, values, 1)[0])


def _temporaries(record):
    return record["memory"]["temp"]


def _seconds(record):
    return record.get("seconds", {}).get("median")


def _cell(record):
    temporaries = f"{_temporaries(record) / 2**20:.1f}"
    seconds = _seconds(record)
    if seconds is None:
        return temporaries
    return f"{temporaries}; {milliseconds(seconds)}"


def _ratio(by_kind, depth, figure):
    ours, other = (figure(by_kind[kind][depth]) for kind in CASES)
    return None if ours is None else f"{ours / other:.2f}"


if __name__ == "__main__":
    launch(Options, run)

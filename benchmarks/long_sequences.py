r"""Trains a Reformer on a long sequence, and takes its parts away.

Usage:

    python -m benchmarks.long_sequences

Takes two training steps of each variant, one after the other, each in a
process of its own that is ended when it takes more memory or time than allowed.
Appends a JSON object a variant to `--results`, and prints a table of the peaks
of resident memory.
"""

import dataclasses
import datetime
from collections.abc import Sequence

from absl import logging

from benchmarks.contestant import Contestant
from benchmarks.contestant import ContestantError
from benchmarks.contestant import LimitError
from benchmarks.contestant import Limits
from benchmarks.environments import describe_machine
from benchmarks.results import append_results
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option

# What each leaves out, by the sizes that say so.
WITHOUT = {
    "chunked feed-forward": {"feed_forward_chunk": 0},
    "reversibility": {"reversible": False},
    "LSH attention": {"num_hashes": 0},
    # Dense attention as it is where it does not go block by block.
    "LSH and blockwise attention": {"num_hashes": 0, "dense_form": "plain"},
}
ALL = "all of it"
VARIANTS = {
    ALL: (),
    **{f"without {name}": (name,) for name in WITHOUT},
    "without reversibility and chunked feed-forward": (
        "reversibility",
        "chunked feed-forward",
    ),
    "without any of them": tuple(WITHOUT),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    variants: tuple[str, ...] = option("What to train; all if empty.", ())
    # Sizes.
    length: int = option("Tokens of the sequence.", 65_536)
    num_layers: int = option("Blocks.", 12)
    hidden_dim: int = option("Width of each stream.", 256)
    num_heads: int = option("Attention heads.", 4)
    intermediate_dim: int = option("Width inside feed-forward.", 1024)
    num_hashes: int = option("Rounds of hashing.", 4)
    chunk_length: int = option("Positions of a chunk of attention.", 64)
    feed_forward_chunk: int = option("Positions of a chunk beside it.", 4096)
    dropout: float = option("Fraction dropped in training.", 0.0)
    xla: bool = option("Compile the step.", True)
    # What is allowed.
    max_gib: float = option("Resident memory of a variant.", 21.0)
    max_seconds: float = option("Seconds of a step.", 1800.0)
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/long_sequences.jsonl"
    )

    def __post_init__(self):
        check(
            set(self.variants) <= set(VARIANTS),
            f"`variants` must be among {list(VARIANTS)}.",
            variants=self.variants,
        )
        check(
            min(self.max_gib, self.max_seconds) > 0,
            "`max_gib` and `max_seconds` must be positive.",
            max_gib=self.max_gib,
            max_seconds=self.max_seconds,
        )

    def sizes(self) -> dict:
        """The sizes of the model and the batch."""
        names = ("length", "num_layers", "hidden_dim", "num_heads")
        names += ("intermediate_dim", "num_hashes", "chunk_length")
        names += ("feed_forward_chunk", "dropout", "xla")
        return {
            **{name: getattr(self, name) for name in names},
            "vocabulary_size": 256,
            "batch_size": 1,
            "reversible": True,
            "dense_form": "dense",
            "dtype": "float32",
        }


def run(options: Options) -> list[dict]:
    """Trains the variants, and returns a record of each."""
    records = []
    for variant in options.variants or VARIANTS:
        logging.info("training %s", variant)
        record = measure(variant, options)
        append_results(options.results, [record])
        records.append(record)
    print(long_sequence_table(records), flush=True)
    return records


def measure(variant: str, options: Options) -> dict:
    """Takes two training steps of one variant.

    Args:
        variant: A name in `VARIANTS`.
        options: The options.

    Returns:
        The record, ready for JSON: `seconds` of the second step, and memory;
        or `error`, and the memory until it was ended.
    """
    sizes = options.sizes()
    for name in VARIANTS[variant]:
        sizes |= WITHOUT[name]
    record = {
        "variant": variant,
        "sizes": sizes,
        "max_gib": options.max_gib,
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "machine": describe_machine(),
    }
    try:
        contestant = Contestant(
            variant,
            "keras_xf",
            "reformer_step.py",
            "training_step",
            sizes,
            limits=Limits(options.max_seconds, options.max_gib * 2**30),
        )
    except ContestantError as error:
        logging.error("%s", error)
        record["error"] = str(error).splitlines()[-1]
        if isinstance(error, LimitError):
            record["peak_resident_bytes"] = error.peak_resident_bytes
        return record
    facts, memory = contestant.facts, contestant.memory()
    contestant.close()
    return {
        **record,
        "seconds": facts["seconds"],
        "versions": facts["versions"],
        "resident_bytes_before": facts["resident_bytes"],
        "peak_resident_bytes": memory["peak_resident_bytes"],
    }


def long_sequence_table(records: Sequence[dict]) -> str:
    """Formats records of `measure`, all of the same sizes.

    Args:
        records: The records.

    Returns:
        A heading and a Markdown table. The memory is the peak of the whole
        process; what TensorFlow itself takes stands beside it.
    """
    sizes, machine = records[0]["sizes"], records[0]["machine"]
    lines = [
        f"### Training step of {sizes['num_layers']} blocks, length "
        f"{sizes['length']}, width {sizes['hidden_dim']}",
        "",
        f"{records[0]['time'][:10]}, {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB",
        "",
        "| | peak of resident memory, GiB | before, GiB | seconds a step |",
        "|---|---|---|---|",
    ]
    for record in records:
        cells = ["", "", record.get("error")]
        if "peak_resident_bytes" in record:
            cells[0] = f"{record['peak_resident_bytes'] / 2**30:.2f}"
        if "error" not in record:
            cells[1] = f"{record['resident_bytes_before'] / 2**30:.2f}"
            cells[2] = f"{record['seconds']:.3g}"
        elif cells[0]:
            cells[0] += " until it was ended"
        lines.append(f"| {record['variant']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    launch(Options, run)

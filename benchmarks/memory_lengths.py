r"""Measures what a memory buys a language model, for `benchmarks.train`.

Usage:

    python -m benchmarks.memory_lengths --run_dir=runs/benchmarks/bytes_xl_0

Prints one JSON object. A Transformer-XL reads the run's test text with once,
twice and four times the memory of its training, distances clamped to those
that training has shown. A model without a memory reads it in windows as long as
those of its training, side by side, and overlapping, with at least three
quarters of a window before each token. Figures are perplexities of words, or
bits per byte.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import ROOT
from keras_xf.launch import launch
from keras_xf.launch import option

FACTORS = (1, 2, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the measurement."""

    run_dir: str = option("The run directory of a language model.")
    batch_size: int = option("Rows of a stream.", 4)


def measure(options: Options) -> dict[str, float]:
    """Evaluates a run in each way that it can be.

    Args:
        options: The options.

    Returns:
        Perplexities or bits per byte, by what the model sees.
    """
    run_dir = Path(options.run_dir)
    trained = _read_flags(run_dir / "options.flags")
    description = json.loads((run_dir / "model.json").read_text())
    memory_length = description["arguments"].get("memory_length", 0)
    segment_length = int(
        trained.get("segment_length") or trained["window_length"]
    )
    ways = {}
    if memory_length:
        for factor in FACTORS:
            ways[f"{factor} x memory"] = {
                "method": "stream",
                "batch_size": options.batch_size,
                # With a window it does not matter to the result.
                "segment_length": int(
                    trained.get("eval_segment_length") or segment_length
                ),
                "memory_length": factor * memory_length,
                "clamp_length": memory_length + segment_length,
            }
    else:
        for name, stride in (
            ("windows side by side", segment_length),
            ("windows overlapping", max(1, segment_length // 4)),
        ):
            ways[name] = {
                "method": "sliding_window",
                "window_length": segment_length,
                "stride": stride,
            }
    is_of_words = trained.get("tokenizer") == "words"
    figure = "perplexity" if is_of_words else "bits_per_byte"
    return {
        name: _evaluate(options.run_dir, way)[figure]
        for name, way in ways.items()
    }


def _read_flags(path):
    """What a run was told, by the flags' names."""
    lines = path.read_text(encoding="utf-8").splitlines()
    flags = (line.removeprefix("--").partition("=") for line in lines)
    return {name: value for name, _, value in flags if value != "none"}


def _evaluate(run_dir, way):
    flags = [f"--{name}={value}" for name, value in way.items()]
    output = subprocess.run(
        [
            *(sys.executable, "-m", "apps.language_model.evaluate"),
            *(f"--run_dir={Path(run_dir).resolve()}", *flags),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return json.loads(output)


def main(options: Options) -> None:
    """Prints the measurement as JSON."""
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    launch(Options, main)

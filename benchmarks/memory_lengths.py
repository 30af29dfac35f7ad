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

from apps.language_model.evaluate import Options as EvaluateOptions
from apps.language_model.evaluate import evaluate
from apps.language_model.train import Options as TrainOptions
from apps.training import RunDirectory
from keras_xf.launch import launch
from keras_xf.launch import load_options
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
    run = RunDirectory(options.run_dir)
    trained = load_options(TrainOptions, run.options)
    arguments = run.read_model_json()["arguments"]
    memory_length = arguments.get("memory_length", 0)
    segment_length = trained.segment_length or trained.window_length
    ways = {}
    if memory_length:
        for factor in FACTORS:
            ways[f"{factor} x memory"] = {
                "method": "stream",
                "batch_size": options.batch_size,
                "segment_length": segment_length,
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
    figure = "perplexity" if trained.tokenizer == "words" else "bits_per_byte"
    results = {}
    for name, way in ways.items():
        score, _ = evaluate(EvaluateOptions(run_dir=options.run_dir, **way))
        results[name] = getattr(score, figure)
    return results


def main(options: Options) -> None:
    """Prints the measurement as JSON."""
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    launch(Options, main)

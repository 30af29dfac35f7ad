r"""Shows how a run went: held-out text beside compressors, learning curve.

Usage:

    python -m apps.language_model.report --run_dir=runs/stdlib

Prints the bits per byte of the model and of gzip, bzip2 and xz, each at its
best, on the same held-out bytes, and leaves them as `comparison.json` in the
run directory, with the learning curve as `learning_curve.png`.
"""

import bz2
import gzip
import json
import lzma

from apps.language_model.evaluate import Options
from apps.language_model.evaluate import evaluate
from apps.training import RunDirectory
from apps.training import check_can_plot
from apps.training import plot_learning_curve
from keras_xf.callbacks.history_file import read_history
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import launch

COMPRESSORS = {
    "gzip": lambda data: gzip.compress(data, 9),
    "bzip2": lambda data: bz2.compress(data, 9),
    "xz": lambda data: lzma.compress(data, preset=9),
}


def compare(options: Options) -> dict:
    """Compares the model with compressors on the same bytes.

    Compressors get all documents in one piece. What they learn, they learn
    from these bytes alone; the model has learned from others before, but its
    own size is not counted either.

    Args:
        options: Those of `evaluate`.

    Returns:
        `model`, `gzip`, `bzip2` and `xz` in bits per byte, `held_out_bytes`,
        and `training_seconds`.
    """
    score, corpus = evaluate(options)
    data = b"".join(corpus.documents)
    history = read_history(RunDirectory(options.run_dir).history)
    check(
        history,
        "`run_dir` must have a history.csv with a row.",
        run_dir=options.run_dir,
    )
    return {
        "model": score.bits_per_byte,
        **{
            name: 8 * len(compress(data)) / len(data)
            for name, compress in COMPRESSORS.items()
        },
        "held_out_bytes": len(data),
        "training_seconds": history[-1]["training_seconds"],
    }


def report(options: Options) -> dict:
    """Prints and writes the comparison, and draws the learning curve.

    Args:
        options: Those of `evaluate`.

    Returns:
        What `compare` returns.
    """
    check_can_plot(options.run_dir)
    run = RunDirectory(options.run_dir)
    comparison = compare(options)
    with atomic_file(run.path / "comparison.json") as aside:
        aside.write_text(json.dumps(comparison, indent=1) + "\n")
    print(_table(comparison))
    path = run.path / "learning_curve.png"
    plot_learning_curve(
        run.history,
        path,
        # Other text than the curve's, which a level of its own shows.
        levels={
            f"{name}, on the test text": comparison[name]
            for name in ("model", *COMPRESSORS)
        },
    )
    print(f"Learning curve: {path}")
    return comparison


def _table(comparison):
    lines = [
        f"Bits per byte of {comparison['held_out_bytes']:,} held-out bytes, "
        f"after {comparison['training_seconds']:.0f} seconds of training"
    ]
    rows = {
        "this model": comparison["model"],
        "gzip -9": comparison["gzip"],
        "bzip2 -9": comparison["bzip2"],
        "xz -9": comparison["xz"],
    }
    widest = max(rows.values())
    for name, bits in sorted(rows.items(), key=lambda row: row[1]):
        bar = "#" * round(40 * bits / widest)
        lines.append(f"  {name:<10} {bits:5.3f}  {bar}")
    return "\n".join(lines)


if __name__ == "__main__":
    launch(Options, report)

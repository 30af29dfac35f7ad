r"""Measures a translation model over its training, for `benchmarks.train`.

Usage:

    python -m benchmarks.translations \
        --run_dir=runs/benchmarks/translation_transformer_0

Prints one JSON object: sacreBLEU and chrF of the test text, with a beam of 5,
from the average of the last checkpoints, and BLEU from the best model. For
models with branch weights also with all of them equal, and random, the mean of
some seeds. Writes `bleu.csv` into the run directory: after each quarter of the
training, how good the average of as many checkpoints is, by steps and seconds.
"""

import csv
import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import ROOT
from keras_xf.callbacks.history_file import read_history
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import option

CURVE = "bleu.csv"
PLACES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the measurement."""

    run_dir: str = option("The run directory of a translation model.")
    last: int = option("Checkpoints that are averaged.", 4)
    random_seeds: int = option("Draws of random branch weights.", 3)


def measure(options: Options) -> dict[str, float]:
    """Averages and translates in each way that there is.

    Args:
        options: The options.

    Returns:
        Scores by what was translated with.
    """
    run_dir = Path(options.run_dir).resolve()
    checkpoints = sorted(
        int(path.name)
        for path in (run_dir / "checkpoints").iterdir()
        if path.name.isdigit()
    )
    rows = {row["step"]: row for row in read_history(run_dir / "history.csv")}
    curve = []
    for place in range(1, PLACES + 1):
        step = checkpoints[len(checkpoints) * place // PLACES - 1]
        averaged = run_dir / "averaged.keras"
        _call(
            "average_checkpoints",
            run_dir,
            last=options.last,
            newest_step=step,
            output=averaged,
        )
        scores = _call("evaluate", run_dir, model_file=averaged)
        curve.append(
            {
                "step": step,
                "training_seconds": rows[step]["training_seconds"],
                "bleu": scores["bleu"],
            }
        )
    with (
        atomic_file(run_dir / CURVE) as aside,
        aside.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(curve[0]))
        writer.writeheader()
        writer.writerows(curve)
    result = {
        f"BLEU, {row['step']} steps": row["bleu"] for row in curve[:-1]
    } | {"BLEU": scores["bleu"], "chrF": scores["chrf"]}
    result["BLEU, best model"] = _call("evaluate", run_dir)["bleu"]
    description = json.loads((run_dir / "model.json").read_text())
    if description["builder"] == "build_weighted_transformer":
        weighed = {"model_file": averaged, "branch_weights": "equal"}
        equal = _call("evaluate", run_dir, **weighed)
        result["BLEU, equal branches"] = equal["bleu"]
        weighed["branch_weights"] = "random"
        result["BLEU, random branches"] = statistics.fmean(
            _call("evaluate", run_dir, **weighed, branch_seed=seed)["bleu"]
            for seed in range(options.random_seeds)
        )
    return result


def _call(program, run_dir, **options):
    flags = [f"--{name}={value}" for name, value in options.items()]
    output = subprocess.run(
        [
            *(sys.executable, "-m", f"apps.translation.{program}"),
            *(f"--run_dir={run_dir}", *flags),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return json.loads(output) if output else None


def main(options: Options) -> None:
    """Prints the measurement as JSON."""
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    launch(Options, main)

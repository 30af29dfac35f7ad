r"""Trains Sonnet's example of a VQ-VAE, ours and its own, and draws the curves.

Usage:

    python -m benchmarks.vq_vae_curve --archive=cifar10_train_jpeg.tar.xz

Each contestant is a process of its own. All begin with the same weights and see
the same batches in the same order. One that was cut off goes on where it was,
when the same command is started again; contestants of two commands, in the same
`--runs_dir`, can run side by side. Each that ends appends one JSON object to
`--results`; then all that are recorded are printed as a table and drawn beside
the figures that Sonnet's notebook shows.
"""

import dataclasses
import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import logging

from benchmarks import environments
from benchmarks.cifar10 import read_cifar10
from benchmarks.results import append_results
from benchmarks.results import read_results
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import ProgramError
from keras_xf.launch import launch
from keras_xf.launch import option

WORKERS = Path(__file__).parent / "workers"
# Environment, script, and arguments of the bottleneck.
CONTESTANTS = {
    "ones": ("keras_xf", "keras_vq_vae.py", {"ema_init": "ones"}),
    "zero_debias": ("keras_xf", "keras_vq_vae.py", {}),
    "ones_restart": (
        "keras_xf",
        "keras_vq_vae.py",
        {"ema_init": "ones", "restart": {"fraction": 0.03}},
    ),
    "sonnet": ("sonnet", "sonnet_vq_vae.py", {}),
}
# Of the notebook, on the images as they were before they became JPEG: steps,
# reconstruction error and perplexity, means of 100 steps.
PUBLISHED = [
    (1000, 0.105, 71.8),
    (2000, 0.081, 154),
    (3000, 0.071, 227),
    (5000, 0.061, 327),
    (10000, 0.056, 326),
]
STOPPED = 75
# Of the settings, what tells where a run is.
_PLACES = ("images", "run_dir")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the comparison."""

    archive: str | None = option(
        "The .tar.xz of JPEG files to learn from; none to draw alone.", None
    )
    contestants: tuple[str, ...] = option(
        f"Of {', '.join(CONTESTANTS)}.", ("ones", "zero_debias", "sonnet")
    )
    steps: int = option("Training steps.", 5000)
    batch_size: int = option("Images of a step.", 32)
    learning_rate: float = option("Of Adam.", 3e-4)
    xla: bool = option("Whether steps are compiled by XLA.", False)
    seed: int = option("Seed of first weights and of the order.", 0)
    runs_dir: str = option("Where runs are kept.", "runs/vq_vae")
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/vq_vae.jsonl"
    )
    plot: str = option("The picture.", "benchmarks/results/vq_vae.png")

    def __post_init__(self):
        check(
            set(self.contestants) <= set(CONTESTANTS),
            f"`contestants` must be of {tuple(CONTESTANTS)}.",
            contestants=self.contestants,
        )


class TrainingError(ProgramError):
    """A training that failed."""


def compare(options: Options) -> None:
    """Trains what is not recorded yet, then tells and draws all that is."""
    if options.archive is not None:
        folder = Path(options.runs_dir).resolve()
        path = read_cifar10(options.archive, folder)
        images = np.load(path, mmap_mode="r")
        # Of all values, as the notebook has it.
        variance = float(np.var(images / np.float32(255), dtype="float64"))
        for name in options.contestants:
            settings = _settings(name, options, str(path), variance)
            if _find(options.results, settings) is None:
                append_results(options.results, [_train(settings)])
    records = latest_records(options.results)
    print(curve_table(records))
    plot_curves(records, options.plot)


def latest_records(results: str | Path) -> list[dict]:
    """The last record of each contestant, in the order of `CONTESTANTS`.

    Records whose training was another one than that of the last record, longer
    or with another seed, are passed over.

    Raises:
        ValueError: If there is none.
    """
    records = read_results(results) if Path(results).exists() else []
    check(records, "`results` must hold a training.", results=str(results))
    found = {
        record["settings"]["contestant"]: record
        for record in records
        if _training(record) == _training(records[-1])
    }
    return [found[name] for name in CONTESTANTS if name in found]


def _training(record):
    """What contestants must have in common to be compared."""
    names = ("steps", "batch_size", "learning_rate", "seed")
    return [record["settings"].get(name) for name in names]


def curve_table(records: list[dict]) -> str:
    """Formats records as a Markdown table, of the steps that are published.

    Args:
        records: As `latest_records` returns them.
    """
    rows = {
        record["settings"]["contestant"]: {
            line["step"]: (line["reconstruction_error"], line["perplexity"])
            for line in record["curve"]
        }
        for record in records
    }
    rows["published"] = {step: tuple(rest) for step, *rest in PUBLISHED}
    last = max(
        max(curve) for name, curve in rows.items() if name != "published"
    )
    steps = [step for step, *_ in PUBLISHED if step < last] + [last]
    lines = [
        f"| error, perplexity | {' | '.join(map(str, steps))} |",
        "|---|" + "---|" * len(steps),
    ]
    for name, curve in rows.items():
        cells = [
            "{:.4f}, {:.1f}".format(*curve[step]) if step in curve else ""
            for step in steps
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot_curves(records: list[dict], path: str | Path) -> None:
    """Draws reconstruction error and perplexity by steps.

    Args:
        records: As `latest_records` returns them.
        path: The `.png` file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    error, perplexity = figure.subplots(1, 2)
    for record in records:
        steps = [line["step"] for line in record["curve"]]
        for axes, key in (
            (error, "reconstruction_error"),
            (perplexity, "perplexity"),
        ):
            values = [line[key] for line in record["curve"]]
            label = record["settings"]["contestant"].replace("_", " ")
            axes.plot(steps, values, label=label)
    last = max(line["step"] for record in records for line in record["curve"])
    published = [row for row in PUBLISHED if row[0] <= last]
    for place, axes in enumerate((error, perplexity), start=1):
        axes.plot(
            [row[0] for row in published],
            [row[place] for row in published],
            "k.",
            label="published, other images",
        )
        axes.set_xlabel("training step")
        axes.grid(alpha=0.3)
    error.set(title="Squared error / variance", yscale="log")
    perplexity.set(title="Perplexity of a batch's codes")
    perplexity.legend()
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=110)


def _settings(name, options, images, variance):
    _, _, arguments = CONTESTANTS[name]
    return {
        "contestant": name,
        "options": arguments,
        "images": images,
        "variance": variance,
        "run_dir": str(Path(images).parent / name),
        **{
            key: getattr(options, key)
            for key in ("steps", "batch_size", "learning_rate", "xla", "seed")
        },
    }


def _train(settings):
    """Runs a contestant to its end; returns the record, ready for JSON."""
    name, run_dir = settings["contestant"], Path(settings["run_dir"])
    environment, script, _ = CONTESTANTS[name]
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "settings.json"
    if path.exists():
        before = json.loads(path.read_text())
        # More steps go on from what there is.
        check(
            {**before, "steps": 0} == {**settings, "steps": 0},
            "`runs_dir` must not hold a run of other settings.",
            run_dir=str(run_dir),
        )
    path.write_text(json.dumps(settings, indent=2))
    machine = environments.describe_machine()
    logging.info("training %s in %s", name, run_dir)
    process = subprocess.Popen(
        [environments.find_python(environment), WORKERS / script, path],
        env={
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **os.environ,
            "PYTHONPATH": str(environments.ROOT),
        },
    )
    handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    try:
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
    if code:
        raise TrainingError(f"{name} ended with exit code {code}.")
    return {
        # Wherever it was run.
        "settings": {
            key: value for key, value in settings.items() if key not in _PLACES
        },
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "machine": machine,
        "versions": json.loads((run_dir / "versions.json").read_text()),
        "curve": read_results(run_dir / "curve.jsonl"),
    }


def _find(results, settings):
    """The latest record of exactly these settings, or None."""
    if not Path(results).exists():
        return None
    # Early records have places, too.
    places = dict.fromkeys(_PLACES)
    for record in reversed(read_results(results)):
        if {**record["settings"], **places} == {**settings, **places}:
            return record
    return None


if __name__ == "__main__":
    launch(Options, compare)

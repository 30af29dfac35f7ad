r"""Trains configurations to compare what they learn, and records it.

Usage:

    python -m benchmarks.train \
        --configurations=language_model_adam,language_model_muon

A configuration is a file in `benchmarks/configurations`; some learn from the
text that `--text` names. What is recorded already is not run again; what was
cut off goes on where it was, when the same command is started again. Each that
ends appends one JSON object to `--results`, and all that are recorded are
printed as a table.

Exit codes: 0 when all are recorded, 75 if SIGTERM stopped one, which has saved
where it was.
"""

import csv
import dataclasses
import datetime
import json
import signal
import subprocess
from pathlib import Path

from absl import logging

from benchmarks.configuration import Configuration
from benchmarks.configuration import read_configuration
from benchmarks.environments import ROOT
from benchmarks.environments import describe_machine
from benchmarks.results import append_results
from benchmarks.results import read_results
from benchmarks.tables import training_table
from benchmarks.text_parts import split_text
from keras_xf.launch import ProgramError
from keras_xf.launch import launch
from keras_xf.launch import option

CONFIGURATIONS = Path(__file__).parent / "configurations"
STOPPED = 75


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the comparison."""

    configurations: tuple[str, ...] = option(
        "Names in benchmarks/configurations, or JSON files; all of the folder "
        "if empty.",
        (),
    )
    text: str | None = option(
        "Text to learn from, plain, .gz or .xz, where a configuration asks for "
        "it: all but its last tenth; or a folder of its parts.",
        None,
    )
    languages: tuple[str, ...] = option(
        "Languages of a text in several, by the endings of the files of its "
        "folder, such as en,de.",
        (),
    )
    runs_dir: str = option("Where runs are kept.", "runs/benchmarks")
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/training.jsonl"
    )


class TrainingError(ProgramError):
    """A run that failed."""


class Stopped(ProgramError):
    """A run that was stopped and can go on."""

    exit_code = STOPPED


def train(options: Options) -> None:
    """Runs what is not recorded yet, one after the other."""
    names = options.configurations or sorted(
        path.stem for path in CONFIGURATIONS.glob("*.json")
    )
    text = options.text and split_text(
        options.text, Path(options.runs_dir) / "texts", options.languages
    )
    configurations = [read_configuration(_path(name), text) for name in names]
    for configuration in configurations:
        if _find(options.results, configuration) is None:
            # A changed configuration is another run.
            run_dir = Path(options.runs_dir) / (
                f"{configuration.name}-{configuration.fingerprint[:8]}"
            )
            record = run(configuration, run_dir)
            append_results(options.results, [record])
        else:
            logging.info("%s is recorded already", configuration.name)
    records = [_find(options.results, each) for each in configurations]
    print(training_table(records))


def run(configuration: Configuration, run_dir: str | Path) -> dict:
    """Runs a configuration to its end.

    Args:
        configuration: What to run.
        run_dir: Where it keeps its state; goes on with what is there.

    Returns:
        The record, ready for JSON.

    Raises:
        TrainingError: If a command failed or printed no JSON object.
        Stopped: If SIGTERM stopped it.
    """
    # The command runs in the repository's root.
    run_dir = Path(run_dir).resolve()
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    logging.info("training %s in %s", configuration.name, run_dir)
    _call(configuration.command(configuration.train, run_dir))
    output = _call(
        configuration.command(configuration.evaluate, run_dir),
        stdout=subprocess.PIPE,
    )
    try:
        result = json.loads(output)
    except ValueError as error:
        raise TrainingError(
            f"{configuration.name}: the evaluation printed no JSON: {error}"
        ) from error
    return {
        "configuration": configuration.name,
        "fingerprint": configuration.fingerprint,
        "description": configuration.description,
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "machine": machine,
        "result": result,
        "last_history": _last_row(run_dir / "history.csv"),
    }


def _path(name):
    is_file = name.endswith(".json")
    return Path(name) if is_file else CONFIGURATIONS / f"{name}.json"


def _find(results, configuration):
    """The latest record of exactly this configuration, or None."""
    if not Path(results).exists():
        return None
    for record in reversed(read_results(results)):
        if record["fingerprint"] == configuration.fingerprint:
            return record
    return None


def _call(command, **options):
    """Runs a command, handing SIGTERM on to it; returns its output."""
    process = subprocess.Popen(command, cwd=ROOT, **options)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        output, _ = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    told = f"exit code {process.returncode}: {' '.join(command)}"
    if process.returncode in (STOPPED, -signal.SIGTERM):
        raise Stopped(f"Stopped; the same command goes on. {told}")
    if process.returncode != 0:
        raise TrainingError(told)
    return output


def _last_row(path):
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return rows[-1] if rows else None


if __name__ == "__main__":
    launch(Options, train)

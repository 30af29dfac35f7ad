"""Tests of benchmarks.train, with a training that only counts."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from benchmarks import train
from benchmarks.configuration import read_configuration
from benchmarks.results import read_results

# Stops itself after the first of its two steps, as if the machine were wanted.
TRAINING = """
import pathlib, sys
run_dir = pathlib.Path(sys.argv[1])
run_dir.mkdir(exist_ok=True)
state = run_dir / "steps"
steps = int(state.read_text()) + 1 if state.exists() else 1
state.write_text(str(steps))
(run_dir / "history.csv").write_text(f"step,training_seconds\\n{steps},2.5\\n")
sys.exit(75 if steps < 2 else int(sys.argv[2]))
"""
EVALUATION = """
import pathlib, sys
print('{"steps": ' + (pathlib.Path(sys.argv[1]) / "steps").read_text() + "}")
"""


@pytest.fixture
def options(tmp_path):
    (tmp_path / "training.py").write_text(TRAINING)
    (tmp_path / "evaluation.py").write_text(EVALUATION)

    def write(name="counting", exit_code=0, evaluation="evaluation.py"):
        path = tmp_path / f"{name}.json"
        content = {
            "description": "counts",
            "environment": "keras_xf",
            "train": [
                str(tmp_path / "training.py"),
                "{run_dir}",
                str(exit_code),
            ],
            "evaluate": [str(tmp_path / evaluation), "{run_dir}"],
        }
        path.write_text(json.dumps(content))
        return train.Options(
            configurations=(str(path),),
            runs_dir=str(tmp_path / "runs"),
            results=str(tmp_path / "results.jsonl"),
        )

    return write


def test_goes_on_where_it_was_stopped_and_is_recorded_once(options, capsys):
    chosen = options()
    with pytest.raises(train.Stopped, match="the same command") as told:
        train.train(chosen)
    assert told.value.exit_code == 75
    train.train(chosen)
    # Nothing is left to do: a third step would change the result.
    train.train(chosen)
    (record,) = read_results(chosen.results)
    assert record["result"] == {"steps": 2}
    assert record["configuration"] == "counting"
    assert record["last_history"] == {"step": "2", "training_seconds": "2.5"}
    assert record["machine"]["cores"] > 0
    row = "| counts (`counting`) | 2 | 2.5 |"
    assert capsys.readouterr().out.count(row) == 2


def test_a_changed_configuration_is_another_run(options):
    for exit_code in (0, 1):
        chosen = options(exit_code=exit_code)
        with pytest.raises(train.Stopped):
            train.train(chosen)
    # The second one's second step fails by the code it was given.
    with pytest.raises(train.TrainingError, match=r"^exit code 1: "):
        train.train(chosen)
    chosen = options(exit_code=0)
    train.train(chosen)
    assert len(read_results(chosen.results)) == 1


def test_an_evaluation_must_print_json(options, tmp_path):
    (tmp_path / "broken.py").write_text("print('not yet')")
    chosen = options(evaluation="broken.py")
    with pytest.raises(train.Stopped):
        train.train(chosen)
    with pytest.raises(train.TrainingError, match="counting: the evaluation"):
        train.train(chosen)


def test_reads_what_is_in_the_folder():
    paths = sorted(train.CONFIGURATIONS.glob("*.json"))
    assert paths
    for path in paths:
        configuration = read_configuration(path, Path("a/text"))
        command = configuration.command(configuration.train, "some/where")
        assert command[0] == sys.executable
        assert any("some/where" in part for part in command)
        assert not any("{" in part for part in command)


def test_a_text_belongs_to_the_configuration(options, tmp_path):
    chosen = options()
    path = Path(chosen.configurations[0])
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            {**content, "evaluate": [*content["evaluate"], "{text}/test.txt"]}
        )
    )
    with pytest.raises(ValueError) as error:
        read_configuration(path)
    assert str(error.value) == (
        "`text` must be given: a configuration needs it. Received: "
        "configuration='counting', text=None."
    )
    one, other = (
        read_configuration(path, tmp_path / name) for name in ("one", "other")
    )
    assert one.fingerprint != other.fingerprint
    command = one.command(one.evaluate, "some/where")
    assert command[-1] == str(tmp_path / "one" / "test.txt")

    text = tmp_path / "text.txt"
    text.write_text("a line\n" * 100)
    with pytest.raises(train.Stopped):
        train.train(dataclasses.replace(chosen, text=str(text)))
    (parts,) = (tmp_path / "runs" / "texts").iterdir()
    assert (parts / "test.txt").read_text() == "a line\n" * 5


def test_rejects_what_is_no_configuration(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError) as error:
        read_configuration(path)
    assert str(error.value) == (
        f"`path` must be a file. Received: path={str(path)!r}."
    )
    path.write_text("{")
    with pytest.raises(ValueError, match=r"^`path` must be JSON\. Received: "):
        read_configuration(path)
    path.write_text('{"train": []}')
    with pytest.raises(ValueError) as error:
        read_configuration(path)
    assert str(error.value) == (
        "`path` must hold exactly description, environment, evaluate, train. "
        f"Received: path={str(path)!r}, content={{'train': []}}."
    )

"""Tests of benchmarks.translations."""

import csv
import json

import pytest

from benchmarks import translations


@pytest.fixture
def run_dir(tmp_path):
    for step in (10, 20, 30, 40, 50, 60, 70, 80):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    (tmp_path / "history.csv").write_text(
        "step,loss,training_seconds\n"
        + "".join(f"{step},1.0,{step / 10}\n" for step in range(10, 90, 10))
    )
    return tmp_path


@pytest.mark.parametrize(
    "kind", ["sequence_to_sequence", "weighted_transformer"]
)
def test_measures_over_the_training(run_dir, kind, monkeypatch):
    (run_dir / "model.json").write_text(
        json.dumps({"builder": f"build_{kind}", "arguments": {}})
    )
    calls = []

    def call(program, run_dir, **options):
        calls.append((program, options))
        if program == "average_checkpoints":
            return None
        kind = options.get("branch_weights", "learned")
        bleu = {"learned": 30.0, "equal": 20.0, "random": 10.0}[kind]
        bleu += options.get("branch_seed", 0)
        newest = [
            each["newest_step"] for name, each in calls if "average" in name
        ][-1]
        is_best = "model_file" not in options
        return {"bleu": bleu + newest / 100 + is_best, "chrf": 50.0}

    monkeypatch.setattr(translations, "_call", call)
    options = translations.Options(run_dir=str(run_dir), last=2)
    result = translations.measure(options)
    assert result["BLEU, 20 steps"] == 30.2
    assert result["BLEU, 60 steps"] == 30.6
    assert (result["BLEU"], result["chrF"]) == (30.8, 50.0)
    assert result["BLEU, best model"] == 31.8
    averages = [each for name, each in calls if name == "average_checkpoints"]
    assert [each["newest_step"] for each in averages] == [20, 40, 60, 80]
    assert {each["last"] for each in averages} == {2}
    with (run_dir / translations.CURVE).open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1] == {"step": "80", "training_seconds": "8.0", "bleu": "30.8"}
    if kind == "weighted_transformer":
        assert result["BLEU, equal branches"] == 20.8
        assert result["BLEU, random branches"] == pytest.approx(11.8)
    else:
        assert "BLEU, equal branches" not in result

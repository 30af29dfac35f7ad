"""Tests of benchmarks.duplication_plot."""

import pytest

from benchmarks import duplication_plot
from benchmarks.duplication_plot import Options
from benchmarks.results import append_results


def record(configuration, **shares):
    return {
        "configuration": configuration,
        "result": {"full": 1.0, "LSH-1": 0.5, **shares},
        "last_history": {"step": "400", "training_seconds": "61.5"},
    }


def test_the_latest_of_each_is_shown_as_the_paper_does(tmp_path, capsys):
    results, plot = tmp_path / "results.jsonl", tmp_path / "plot.png"
    append_results(
        results,
        [
            record("duplication_full", full=0.1),
            record("language_model_adam"),
            record("duplication_full"),
            {**record("duplication_lsh_1", full=0.0081), "last_history": None},
        ],
    )
    duplication_plot.draw(Options(results=str(results), plot=str(plot)))
    assert capsys.readouterr().out == (
        "| trained \\ evaluated | full | LSH-1 | steps | seconds |\n"
        "|---|---|---|---|---|\n"
        "| full | 100.0 | 50.0 | 400 | 62 |\n"
        "| LSH-1 | 0.8 | 50.0 |  |  |\n"
    )
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_there_must_be_a_training(tmp_path):
    results = tmp_path / "results.jsonl"
    append_results(results, [record("language_model_adam")])
    with pytest.raises(ValueError) as error:
        duplication_plot.draw(Options(results=str(results)))
    assert str(error.value) == (
        "`results` must hold a training of the duplication task. Received: "
        f"results={str(results)!r}."
    )

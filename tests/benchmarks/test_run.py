"""Tests of benchmarks.run and what it records, with workers that do nothing."""

import json

import pytest

from benchmarks import contestant
from benchmarks import run
from benchmarks import tables
from benchmarks.cases import CASES
from benchmarks.cases import WORKERS
from benchmarks.cases import Case
from benchmarks.cases import Worker
from benchmarks.contestant import Contestant
from benchmarks.contestant import ContestantError
from benchmarks.results import append_results
from benchmarks.results import read_results

REAL_WORKERS = contestant.WORKERS
# Sleeps, so that one is surely slower than another; writes down its turns.
WORKER = """
import sys, time
sys.path.insert(0, {workers!r})
import answering

def prepare(case, sizes):
    if sizes.get("fails"):
        print("on the way")
        raise RuntimeError("no such thing")
    def call():
        with open(sizes["log"], "a") as file:
            file.write(sizes["name"] + "\\n")
        time.sleep(sizes["seconds"])
        sizes["lasts"] = sizes.get("lasts", 100) - 1
        if sizes.get("dies") or not sizes["lasts"]:
            sys.exit("gone")
    return call, {{"fake": case}}

answering.answer(prepare)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Workers that sleep, by the names "short", "long", "failing"."""
    real = contestant.WORKERS
    (tmp_path / "fake.py").write_text(WORKER.format(workers=str(real)))
    # The machine's rates are measured by the real one.
    (tmp_path / "machine.py").write_text(
        f"import sys; sys.path.insert(0, {str(real)!r})\n"
        "import machine, answering\n"
        "machine.PRODUCT_SIZE, machine.COPY_BYTES = 8, 1024\n"
        "answering.answer(machine.prepare)\n"
    )
    monkeypatch.setattr(contestant, "WORKERS", tmp_path)
    log = str(tmp_path / "log")
    for name, settings in {
        "short": {"seconds": 0.001},
        "long": {"seconds": 0.01},
        "failing": {"fails": True},
        "missing": {},
    }.items():
        environment = "no such peer" if name == "missing" else "keras_xf"
        settings = {**settings, "name": name, "log": log}
        worker = Worker(environment, "fake.py", settings)
        monkeypatch.setitem(WORKERS, name, worker)
    case = Case(
        description="nothing at all",
        task="nap",
        sizes={"naps": 1},
        contestants=("short", "long", "failing", "missing"),
        flops=1e3,
    )
    monkeypatch.setitem(CASES, "nap", case)
    return tmp_path


def test_contestants_take_turns_and_are_compared(folder, capsys):
    path = folder / "results" / "timings.jsonl"
    run.run(
        run.Options(cases=("nap",), rounds=3, seconds=0.001, results=str(path))
    )
    records = {record["contestant"]: record for record in read_results(path)}
    assert list(records) == ["short", "long", "failing", "missing"]
    short, long = records["short"], records["long"]
    assert short["ratio"] == 1
    assert short["ratio_quartiles"] == [1, 1]
    assert long["ratio"] == long["median_seconds"] / short["median_seconds"]
    assert long["like"] == "short"
    assert long["like_ratio"] == long["ratio"]
    assert records["failing"]["error"] == "RuntimeError: no such thing"
    assert "`environment` must have been made" in records["missing"]["error"]
    for record in (short, long):
        assert record["case"] == "nap"
        assert record["versions"] == {"fake": "nap"}
        assert record["machine"]["cores"] > 0
        assert record["machine"]["processor"]
        assert len(record["round_seconds"]) == record["rounds"] == 3
        low, high = record["quartiles_seconds"]
        assert (
            record["least_seconds"] <= low <= record["median_seconds"] <= high
        )
        assert "peak_resident_bytes" in record
        assert "resident_bytes_before" in record
        assert record["limit_seconds"] == (
            1e3 / record["product_flops_per_second"]
        )

    # Three calls to prepare; then in each round one that warms up and one
    # that counts. The order moves on: who began comes last.
    turns = (folder / "log").read_text().split()
    assert turns[:6] == ["short"] * 3 + ["long"] * 3
    one_of_each = {tuple(turns[6:10]), tuple(turns[10:14]), tuple(turns[14:18])}
    short_first, long_first = (
        ("short", "short", "long", "long"),
        ("long", "long", "short", "short"),
    )
    assert one_of_each == {short_first, long_first}

    printed = capsys.readouterr().out
    assert "### nothing at all" in printed
    assert "| failing | failed: RuntimeError: no such thing |" in printed


def test_a_selection_of_contestants_keeps_the_first(folder):
    path = folder / "timings.jsonl"
    options = run.Options(
        cases=("nap",),
        contestants=("failing",),
        rounds=1,
        seconds=0.001,
        results=str(path),
    )
    run.run(options)
    run.run(options)
    names = [record["contestant"] for record in read_results(path)]
    assert names == ["short", "failing"] * 2


@pytest.mark.parametrize("name", ["rounds", "seconds"])
def test_rejects(name):
    with pytest.raises(ValueError) as error:
        run.run(run.Options(cases=(), **{name: 0}))
    assert str(error.value) == (
        f"`{name}` must be positive. Received: {name}=0."
    )


def test_a_contestant_that_dies_while_timed_stops_no_other(folder, monkeypatch):
    settings = {**WORKERS["short"].settings, "lasts": 4}
    monkeypatch.setitem(
        WORKERS, "failing", Worker("keras_xf", "fake.py", settings)
    )
    path = folder / "timings.jsonl"
    run.run(
        run.Options(
            cases=("nap",),
            contestants=("failing", "long"),
            rounds=2,
            seconds=0.001,
            results=str(path),
        )
    )
    records = {record["contestant"]: record for record in read_results(path)}
    assert records["failing"]["error"] == "the process ended"
    assert len(records["long"]["round_seconds"]) == 2


def test_workers_are_given_their_variables(folder):
    (folder / "telling.py").write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(REAL_WORKERS)!r})\n"
        "import answering\n"
        "answering.answer(lambda case, sizes: ("
        "int, {'mood': os.environ['MOOD']}))\n"
    )
    process = Contestant(
        "one", "keras_xf", "telling.py", "nap", {}, {"MOOD": "good"}
    )
    assert process.facts["versions"] == {"mood": "good"}
    process.close()


def test_a_worker_that_dies_is_told_with_what_it_said(folder):
    settings = {**WORKERS["short"].settings, "dies": True}
    with pytest.raises(ContestantError) as error:
        Contestant("dying", "keras_xf", "fake.py", "nap", settings)
    assert str(error.value) == "gone\nthe process ended"


def test_what_a_worker_prints_is_no_answer(folder):
    settings = WORKERS["failing"].settings
    with pytest.raises(ContestantError, match=r"on the way\n(?s:.*)no such"):
        Contestant("failing", "keras_xf", "fake.py", "nap", settings)


def test_a_line_that_was_cut_off_harms_no_other(tmp_path):
    path = tmp_path / "results.jsonl"
    append_results(path, [{"a": 1}])
    with path.open("a") as file:
        file.write('{"a": 2, "b')
    append_results(path, [{"a": 3}, {"a": 4}])
    assert read_results(path) == [{"a": 1}, {"a": 3}, {"a": 4}]


def test_the_tables_are_of_each_case_s_latest_session(tmp_path, capsys):
    def record(case, time, contestant, seconds):
        return {
            "case": case,
            "description": f"about {case}",
            "time": time,
            "contestant": contestant,
            "rounds": 3,
            "machine": {"processor": "P", "cores": 2},
            "product_flops_per_second": 1e11,
            "copy_bytes_per_second": 2e10,
            "limit_seconds": 0.001,
            "median_seconds": seconds,
            "quartiles_seconds": [seconds / 2, seconds * 2],
            "ratio": 1.5,
            "ratio_quartiles": [1.25, 1.75],
            "like": "theirs",
            "like_ratio": 2.5,
            "like_ratio_quartiles": [2.25, 2.75],
            "peak_resident_bytes": 3 * 2**20,
            "versions": {"peer": "1.0"},
        }

    timings, training = tmp_path / "timings.jsonl", tmp_path / "training.jsonl"
    append_results(timings, [record("a", "2026-01-01T00", "ours", 0.004)])
    append_results(timings, [record("b", "2026-01-01T00", "ours", 0.001)])
    append_results(timings, [record("a", "2026-01-02T00", "ours", 0.002)])
    append_results(
        training,
        [
            {
                "configuration": name,
                "description": f"with {name}",
                "time": "2026-01-03T00",
                "machine": {"processor": "P"},
                "result": result,
                "last_history": history,
            }
            for name, result, history in (
                ("x", {"bits": 1.23456}, {"training_seconds": "61.5"}),
                ("y", {"bits": 2, "bytes": 7}, None),
            )
        ],
    )
    tables.main(tables.Options(timings=str(timings), training=str(training)))
    assert capsys.readouterr().out == (
        "### about a\n\n"
        "`a`, 2026-01-02, P, 2 cores; matrix product 100 GFLOP/s, copy "
        "20.0 GB/s; limit 1 ms; 3 rounds; peer 1.0\n\n"
        "| | ms, median (quartiles) | ratio (quartiles) | to its like "
        "(quartiles) | of the limit | peak memory, MiB |\n"
        "|---|---|---|---|---|---|\n"
        "| ours | 2 (1 to 4) | 1.50 (1.25 to 1.75) | 2.50 (2.25 to 2.75) "
        "| 50% | 3 |\n\n"
        "### about b\n\n"
        "`b`, 2026-01-01, P, 2 cores; matrix product 100 GFLOP/s, copy "
        "20.0 GB/s; limit 1 ms; 3 rounds; peer 1.0\n\n"
        "| | ms, median (quartiles) | ratio (quartiles) | to its like "
        "(quartiles) | of the limit | peak memory, MiB |\n"
        "|---|---|---|---|---|---|\n"
        "| ours | 1 (0.5 to 2) | 1.50 (1.25 to 1.75) | 2.50 (2.25 to 2.75) "
        "| 100% | 3 |"
        "\n\n"
        "| | bits | bytes | training, seconds | date, machine |\n"
        "|---|---|---|---|---|\n"
        "| with x (`x`) | 1.235 |  | 61.5 | 2026-01-03, P |\n"
        "| with y (`y`) | 2 | 7 |  | 2026-01-03, P |\n"
    )


def test_our_own_worker_answers_for_each_task():
    """The real model, tiny, by the real script."""
    sizes = {
        "vocabulary_size": 16,
        "num_layers": 1,
        "hidden_dim": 8,
        "num_heads": 2,
        "intermediate_dim": 8,
        "dropout": 0.0,
        "batch_size": 2,
        "length": 4,
    }
    for case in ("training_step", "generation"):
        worker = WORKERS["keras_xf"]
        process = Contestant(
            "ours",
            worker.environment,
            worker.script,
            case,
            {**sizes, **worker.settings},
        )
        assert len(process.time(2)) == 2
        assert set(process.facts["versions"]) == {"tensorflow", "keras"}
        process.close()


def test_flops_are_counted_by_hand():
    case = CASES["training_step"]
    # Per token: 3 blocks of 4 * 128^2 + 2 * 128 * 512 weights, and a table of
    # 261 * 128, each one multiplied and added, three times over.
    weights = 3 * (4 * 128**2 + 2 * 128 * 512) + 261 * 128
    tokens = 16 * 128
    # A query sees 64.5 keys on average, each by two products of 128 numbers.
    attention = 3 * tokens * 64.5 * 2 * 2 * 128
    assert case.flops == 3 * (2 * weights * tokens + attention)


def test_every_contestant_of_a_case_has_a_worker():
    for name, case in CASES.items():
        assert set(case.contestants) <= set(WORKERS), name
        for worker in (WORKERS[each] for each in case.contestants):
            assert (contestant.WORKERS / worker.script).is_file()
    assert json.dumps({name: dict(c.sizes) for name, c in CASES.items()})

"""Tests of benchmarks.attention_curve, its workers and its tables."""

import concurrent.futures
import importlib

import numpy as np
import pytest

from benchmarks import attention_curve
from benchmarks import attention_layers
from benchmarks import attention_tables
from benchmarks import contestant
from benchmarks import environments
from benchmarks.attention_cases import DENSE_WORKERS
from benchmarks.attention_cases import LSH_WORKERS
from benchmarks.attention_cases import WORKERS
from benchmarks.attention_cases import attention_case
from benchmarks.attention_tables import attention_tables as make_tables
from benchmarks.attention_tables import plot_attention
from benchmarks.contestant import Contestant
from benchmarks.results import append_results
from benchmarks.results import read_results
from benchmarks.workers.attention_inputs import attention_inputs

TINY = {
    "batch_size": 1,
    "length": 64,
    "hidden_dim": 8,
    "num_heads": 2,
    "chunk_length": 16,
    "num_hashes": 2,
}
# Waits so long for each token, and is beyond the limits from some length on.
WORKER = """
import sys, time
sys.path.insert(0, {workers!r})
import answering

def prepare(case, sizes):
    def call():
        time.sleep(sizes["pace"] * sizes["length"])
    return call, {{"fake": case}}

answering.answer(prepare)
"""


@pytest.fixture
def fake_workers(tmp_path, monkeypatch):
    """All contestants are one worker; the second takes ten times as long."""
    real = contestant.WORKERS
    text = WORKER.format(workers=str(real))
    for script in {worker.script for worker in WORKERS.values()}:
        (tmp_path / script).write_text(text)
    (tmp_path / "machine.py").write_text(
        f"import sys; sys.path.insert(0, {str(real)!r})\n"
        "import machine, answering\n"
        "machine.PRODUCT_SIZE, machine.COPY_BYTES = 8, 1024\n"
        "answering.answer(machine.prepare)\n"
    )
    monkeypatch.setattr(contestant, "WORKERS", tmp_path)
    for index, name in enumerate(list(WORKERS)):
        worker = WORKERS[name]
        settings = {**worker.settings, "pace": 1e-4 * (10 if index == 1 else 1)}
        fake = contestant_worker(worker, settings)
        monkeypatch.setitem(WORKERS, name, fake)
    return tmp_path


def contestant_worker(worker, settings):
    return type(worker)("keras_xf", worker.script, settings)


def test_what_is_beyond_the_limits_is_left_out_from_there_on(
    fake_workers, capsys
):
    path = fake_workers / "attention.jsonl"
    options = attention_curve.Options(
        lengths=(400, 100, 200),
        hashes=(2,),
        directions=("forward",),
        contestants=("keras_xf LSH XLA",),
        rounds=1,
        seconds=0.01,
        max_seconds=0.15,
        results=str(path),
        plot=str(fake_workers / "plot.png"),
    )
    attention_curve.run(options)
    records = {
        (record["sizes"]["length"], record["contestant"]): record
        for record in read_results(path)
    }
    first, second = list(LSH_WORKERS)[:2]
    # Prepared at 200, not even started at 400.
    assert records[100, second]["median_seconds"] > 0.1
    for length in (200, 400):
        assert records[length, second]["error"] == "over 0.15 s"
        assert records[length, second]["beyond_limits"]
        assert records[length, first]["median_seconds"] > 1e-4 * length
    assert len(records) == 6
    printed = capsys.readouterr().out
    assert "### 2 hashes, forward" in printed
    assert printed.count("| over 0.15 s |") == 2
    assert (fake_workers / "plot.png").stat().st_size > 1000

    # All is there: nothing is measured again.
    attention_curve.run(
        attention_curve.Options(
            **{**vars(options), "missing": True, "plot": None}
        )
    )
    assert len(read_results(path)) == 6


def test_options_are_checked():
    for wrong, message in {
        "lengths": "`lengths` must be positive. Received: lengths=(0,).",
        "hashes": "`hashes` must not be negative. Received: hashes=(-1,).",
    }.items():
        value = {"lengths": (0,), "hashes": (-1,)}[wrong]
        with pytest.raises(ValueError) as error:
            attention_curve.Options(**{wrong: value})
        assert str(error.value) == message
    for name in ("rounds", "seconds", "max_seconds", "max_gib"):
        with pytest.raises(ValueError) as error:
            attention_curve.Options(**{name: 0})
        assert str(error.value) == (
            f"`{name}` must be positive. Received: {name}=0."
        )


def record(length, name, seconds, **others):
    return {
        "case": f"attention_{length}",
        "task": "training",
        "sizes": {"length": length, "num_hashes": 8},
        "contestant": name,
        "time": "2026-01-01T00",
        "machine": {"processor": "P", "cores": 2},
        "flops": 1e9 * length / 4096,
        "read_bytes": 2e7 * length / 4096,
        "product_flops_per_second": 1e11,
        "copy_bytes_per_second": 1e10,
        "median_seconds": seconds,
        "peak_resident_bytes": 5 * 2**20,
        "resident_bytes_before": 2 * 2**20,
        **others,
    }


def test_tables_tell_ratios_limits_and_growth(tmp_path):
    beyond = record(8192, "theirs", 0)
    del beyond["median_seconds"]
    beyond |= {"error": "over 60 s", "beyond_limits": True}
    failed = {**beyond, "contestant": "last", "error": "no such thing"}
    failed["beyond_limits"] = False
    sessions = {
        "long": [
            record(8192, "keras_xf LSH", 0.06),
            record(8192, "keras_xf LSH XLA", 0.05),
            beyond,
            failed,
        ],
        "short": [
            record(4096, "keras_xf LSH", 0.02),
            record(4096, "keras_xf LSH XLA", 0.025),
            record(4096, "theirs", 0.2),
            # Its work is other than that of the case.
            record(4096, "torch SDPA", 0.1),
        ],
    }
    assert make_tables(sessions) == (
        "### 8 hashes, forward and backward\n\n"
        "2026-01-01, P, 2 cores. Milliseconds; in brackets how many times "
        "that of keras_xf LSH and of keras_xf LSH XLA.\n\n"
        "| length | keras_xf LSH | keras_xf LSH XLA | theirs | torch "
        "SDPA | last |\n"
        "|---|---|---|---|---|---|\n"
        "| 4096 | 20 (0.80) | 25 (1.25) | 200 (10.00, 8.00) | 100 "
        "(5.00, 4.00) |  |\n"
        "| 8192 | 60 (1.20) | 50 (0.83) | over 60 s |  | failed: no such "
        "thing |\n\n"
        "Of what the machine can do, in percent: operations at the rate of a "
        "product of matrices, bytes at that of a copy; the larger is the "
        "limit that a layer is at. And the peak of memory, MiB, less what "
        "there was before.\n\n"
        "| length | limit, ms, by | keras_xf LSH | keras_xf LSH XLA | theirs "
        "|\n"
        "|---|---|---|---|---|\n"
        "| 4096 | 10, operations | 50, 10; 3 | 40, 8; 3 | 5, 1; 3 |\n"
        "| 8192 | 20, operations | 33, 6.7; 3 | 40, 8; 3 |  |\n\n"
        "Time a token at 8192, beside 4096: keras_xf LSH 1.50, keras_xf LSH "
        "XLA 1.00."
    )
    plot_attention(sessions, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_later_session_replaces_an_earlier_one(tmp_path):
    path = tmp_path / "results.jsonl"
    append_results(path, [record(4096, "a", 1.0), record(4096, "b", 1.0)])
    append_results(path, [record(4096, "a", 2.0, time="2026-01-02T00")])
    (session,) = attention_tables.read_latest(path).values()
    assert [each["median_seconds"] for each in session] == [2.0]


def test_cases_are_of_equal_work_for_all():
    lsh = attention_case("training", 4096, 8)
    assert lsh.contestants == tuple(LSH_WORKERS)
    assert lsh.sizes["num_hashes"] == 8
    dense = attention_case("forward", 4096, 0)
    assert dense.contestants == tuple(DENSE_WORKERS)
    assert dense.task == "forward"
    assert attention_case("forward", 4096, 8).flops < lsh.flops


@pytest.mark.parametrize("implementation", ["lsh", "dense", "stock"])
def test_our_worker_answers(implementation, monkeypatch):
    monkeypatch.syspath_prepend(str(contestant.WORKERS))
    worker = importlib.import_module("keras_attention")
    for case in ("forward", "training"):
        sizes = {**TINY, "implementation": implementation, "xla": False}
        call, versions = worker.prepare(case, sizes)
        assert np.isfinite(call())
        assert set(versions) == {"tensorflow", "keras"}


@pytest.mark.parametrize("form", list(attention_layers.FORMS))
def test_the_forms_of_dense_attention_agree(form, monkeypatch):
    called = []
    inner = attention_layers.FORMS[form]

    def attend(*arguments, **options):
        called.append(form)
        return inner(*arguments, **options)

    monkeypatch.setitem(attention_layers.FORMS, form, attend)
    inputs, _ = attention_inputs(TINY)
    layer, call = attention_layers.build_attention("dense", TINY)
    other, call_other = attention_layers.build_attention(form, TINY)
    other.set_weights(layer.get_weights())
    expected = call(inputs, training=True)
    assert not called
    np.testing.assert_allclose(
        call_other(inputs, training=True), expected, rtol=1e-4, atol=1e-5
    )
    assert called


def test_peers_answer():
    names = ["Hugging Face LSH", "reformer-pytorch LSH", "torch SDPA"]
    missing = []

    def answer(name):
        worker = WORKERS[name]
        try:
            environments.find_python(worker.environment)
        except ValueError as error:
            missing.append(str(error))
            return
        process = Contestant(
            name,
            worker.environment,
            worker.script,
            "training",
            {**TINY, **worker.settings},
        )
        assert len(process.time(1)) == 1
        assert "torch" in process.facts["versions"]
        process.close()

    # They take seconds to start.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(answer, names))
    if missing:
        pytest.skip("; ".join(missing))

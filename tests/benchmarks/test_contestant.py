"""Tests of benchmarks.contestant and how the runner keeps to limits."""

import time

import pytest

from benchmarks import contestant
from benchmarks import run
from benchmarks.cases import Case
from benchmarks.cases import Worker
from benchmarks.contestant import Contestant
from benchmarks.contestant import LimitError
from benchmarks.contestant import Limits
from benchmarks.workers import resident_memory

# Writes down its calls, and takes time and memory in each.
WORKER = """
import sys, time
sys.path.insert(0, {workers!r})
import answering
answering.LONG_SECONDS = 0.05

def prepare(case, sizes):
    kept = []
    def call():
        with open(sizes["log"], "a") as file:
            file.write("x")
        time.sleep(sizes["seconds"])
        for _ in range(sizes.get("mib", 0)):
            kept.append(b"1" * 2**20)
    return call, {{}}

answering.answer(prepare)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    real = contestant.WORKERS
    (tmp_path / "fake.py").write_text(WORKER.format(workers=str(real)))
    (tmp_path / "machine.py").write_text(
        f"import sys; sys.path.insert(0, {str(real)!r})\n"
        "import machine, answering\n"
        "machine.PRODUCT_SIZE, machine.COPY_BYTES = 8, 1024\n"
        "answering.answer(machine.prepare)\n"
    )
    monkeypatch.setattr(contestant, "WORKERS", tmp_path)
    return tmp_path


def start(folder, limits=None, **sizes):
    sizes = {"log": str(folder / "log"), "seconds": 0.0, **sizes}
    return Contestant("one", "keras_xf", "fake.py", "nap", sizes, limits=limits)


def test_long_calls_are_not_repeated_to_warm_up(folder):
    process = start(folder, seconds=0.1)
    # One that compiles, and one that tells the time.
    assert (folder / "log").read_text() == "xx"
    assert len(process.time(2)) == 2
    assert (folder / "log").read_text() == "xxxx"
    process.close()
    (folder / "log").unlink()
    process = start(folder)
    assert (folder / "log").read_text() == "xxx"
    process.time(2)
    assert (folder / "log").read_text() == "xxxxxx"
    process.close()


def test_the_clock_of_the_processor_stands_still_in_sleep(folder, monkeypatch):
    monkeypatch.setenv("BENCHMARKS_CLOCK", "processor")
    process = start(folder, seconds=0.2)
    assert 0 < process.facts["seconds"] < 0.2
    assert 0 < process.time(1)[0] < 0.2
    process.close()


def test_one_that_takes_too_long_is_ended(folder, monkeypatch):
    with pytest.raises(LimitError) as error:
        start(folder, Limits(call_seconds=0.1), seconds=0.2)
    assert str(error.value) == "over 0.1 s"
    # One whose first call does not even end.
    monkeypatch.setattr(contestant, "PREPARING_SECONDS", 0.5)
    before = time.monotonic()
    with pytest.raises(LimitError, match=r"^over 0\.25 s$"):
        start(folder, Limits(call_seconds=0.25), seconds=60)
    assert time.monotonic() - before < 30


def test_one_that_takes_too_much_memory_is_ended(folder):
    if resident_memory.resident_bytes() is None:
        pytest.skip("nothing tells the memory of a process")
    limits = Limits(resident_bytes=100 * 2**20)
    process = start(folder, limits, mib=10)
    process.close()
    with pytest.raises(LimitError) as error:
        start(folder, limits, mib=1000)
    assert str(error.value) == "out of memory: more than 0.0976562 GiB"
    # While it is timed, too.
    process = start(folder, limits, mib=5)
    with pytest.raises(LimitError):
        process.time(1000)


def test_rounds_end_with_the_time_and_some_are_left_out(folder):
    def worker(seconds):
        settings = {"log": str(folder / "log"), "seconds": seconds}
        return Worker("keras_xf", "fake.py", settings)

    case = Case("naps", "nap", {}, ("first",), flops=1.0)
    records = run.measure(
        "naps",
        case,
        {
            "first": worker(0.0),
            "slow": worker(0.3),
            "known": worker(0.0),
            "last": worker(0.0),
        },
        rounds=50,
        seconds=0.001,
        limits=Limits(call_seconds=0.2),
        max_seconds=0.0,
        left_out={"known": "over 60 s"},
    )
    by_name = {record["contestant"]: record for record in records}
    assert list(by_name) == ["first", "slow", "known", "last"]
    first = by_name["first"]
    assert first["rounds"] == len(first["round_seconds"]) == run.LEAST_ROUNDS
    assert first["task"] == "nap"
    assert by_name["slow"]["error"] == "over 0.2 s"
    assert by_name["known"]["error"] == "over 60 s"
    assert by_name["slow"]["beyond_limits"]
    assert by_name["known"]["beyond_limits"]
    assert "round_seconds" in by_name["last"]

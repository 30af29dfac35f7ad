"""Tests of benchmarks.long_sequences and the models that it trains."""

import pytest

from benchmarks import contestant
from benchmarks import long_sequences
from benchmarks.long_sequences import Options
from benchmarks.results import read_results

# Takes the memory that a variant's parts take, by the hundred MiB.
WORKER = """
import sys
sys.path.insert(0, {workers!r})
import answering, time

def prepare(case, sizes):
    parts = (not sizes["reversible"]) + 5 * (not sizes["num_hashes"])
    taken = bytearray(parts * 100 * 2**20)
    taken[::4096] = b"1" * len(taken[::4096])
    return lambda: (len(taken), time.sleep(0.1)), {{"fake": case}}

answering.answer(prepare)
"""


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    (tmp_path / "reformer_step.py").write_text(
        WORKER.format(workers=str(contestant.WORKERS))
    )
    monkeypatch.setattr(contestant, "WORKERS", tmp_path)
    return tmp_path


def test_what_does_not_fit_is_told(fake_worker, capsys):
    path = fake_worker / "long.jsonl"
    options = Options(
        variants=(
            "all of it",
            "without reversibility",
            "without LSH attention",
        ),
        max_gib=0.4,
        results=str(path),
    )
    long_sequences.run(options)
    whole, without, beyond = read_results(path)
    added = without["peak_resident_bytes"] - whole["peak_resident_bytes"]
    assert added == pytest.approx(100 * 2**20, rel=0.2)
    assert whole["sizes"]["reversible"]
    assert not without["sizes"]["reversible"]
    assert without["sizes"]["num_hashes"] == 4
    assert beyond["error"] == "out of memory: more than 0.4 GiB"
    assert whole["seconds"] == pytest.approx(0.1, rel=0.5)
    printed = capsys.readouterr().out
    assert "### Training step of 12 blocks, length 65536, width 256" in printed
    assert beyond["peak_resident_bytes"] > 0.4 * 2**30
    seen = f"{beyond['peak_resident_bytes'] / 2**30:.2f} until it was ended"
    told = "out of memory: more than 0.4 GiB"
    assert f"| without LSH attention | {seen} |  | {told} |" in printed


def test_each_variant_leaves_out_what_it_says():
    sizes = []
    for parts in long_sequences.VARIANTS.values():
        given = Options().sizes()
        for part in parts:
            given |= long_sequences.WITHOUT[part]
        names = ("feed_forward_chunk", "reversible", "num_hashes")
        parts = (bool(given[name]) for name in names)
        sizes.append((*parts, given["dense_form"]))
    assert sizes == [
        (True, True, True, "dense"),
        (False, True, True, "dense"),
        (True, False, True, "dense"),
        (True, True, False, "dense"),
        (True, True, False, "plain"),
        (False, False, True, "dense"),
        (False, False, False, "plain"),
    ]


def test_errors():
    with pytest.raises(ValueError) as error:
        Options(variants=("nothing",))
    assert str(error.value) == (
        f"`variants` must be among {list(long_sequences.VARIANTS)}. Received: "
        "variants=('nothing',)."
    )
    with pytest.raises(ValueError) as error:
        Options(max_gib=0)
    assert str(error.value) == (
        "`max_gib` and `max_seconds` must be positive. Received: max_gib=0, "
        "max_seconds=1800.0."
    )

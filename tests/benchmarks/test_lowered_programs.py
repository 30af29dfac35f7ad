"""Tests of benchmarks.lowered_programs."""

import json

import pytest

from benchmarks import environments
from benchmarks.lowered_programs import Options
from benchmarks.lowered_programs import lower_programs
from benchmarks.lowered_programs import measure
from benchmarks.lowered_programs import memory_table
from benchmarks.results import read_results
from keras_xf.launch import ProgramError


def test_sizes_are_the_presets_unless_given():
    sizes = Options(preset="base", num_layers=2, batch_size=4).sizes(32)
    assert sizes == {
        "vocabulary_size": 8192,
        "num_layers": 2,
        "hidden_dim": 512,
        "num_heads": 8,
        "intermediate_dim": 2048,
        "dropout": 0.0,
        "batch_size": 4,
        "length": 32,
        "num_hashes": 1,
        "chunk_length": 64,
        "feed_forward_chunk": 0,
        "dtype": "float32",
    }


def test_errors():
    for wrong in ({"batch_size": 0}, {"lengths": ()}, {"lengths": (8, 0)}):
        with pytest.raises(ValueError) as error:
            Options(**wrong)
        received = {"batch_size": 16, "lengths": (128,), **wrong}
        assert str(error.value) == (
            "`batch_size` and `lengths` must be positive. Received: "
            f"batch_size={received['batch_size']}, "
            f"lengths={received['lengths']}."
        )
    with pytest.raises(ValueError) as error:
        Options(repeats=-1)
    assert str(error.value) == (
        "`repeats` must not be negative. Received: repeats=-1."
    )


def test_folders_are_written_to_be_carried(tmp_path, capsys):
    lower_programs(
        Options(
            programs=("attention",),
            platform="GPU",
            out=str(tmp_path),
            lengths=(64, 80),
            store_arguments=False,
        )
    )
    folders = [tmp_path / f"attention_gpu_{length}" for length in (64, 80)]
    assert capsys.readouterr().out.splitlines() == list(map(str, folders))
    for folder in folders:
        description = json.loads((folder / "description.json").read_text())
        assert description["platform"] == "GPU"
        assert {a["source"] for a in description["arguments"]} == {"normal"}
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert size < 2**16


def test_memory_is_measured_by_length(tmp_path, capsys):
    try:
        environments.find_python("jax")
    except ValueError as error:
        pytest.skip(str(error))
    records = lower_programs(
        Options(
            programs=("attention",),
            out=str(tmp_path / "programs"),
            batch_size=1,
            lengths=(64, 128),
            measure=True,
            run=False,
            results=str(tmp_path / "results.jsonl"),
        )
    )
    assert read_results(tmp_path / "results.jsonl") == records
    assert capsys.readouterr().out == memory_table(records) + "\n"
    short, long = (record["memory"]["temp"] for record in records)
    # Weights of attention go with the square of the length.
    assert 3.5 * short < long < 4.5 * short
    assert records[0]["sizes"]["length"] == 64
    assert records[0]["machine"]["processor"]
    with pytest.raises(ProgramError) as error:
        measure(
            environments.find_python("jax"),
            tmp_path / "missing",
            run=False,
            repeats=0,
            rates=False,
        )
    assert str(error.value).endswith(f"{tmp_path}/missing could not be run.")
    assert "description.json" in str(error.value)


def test_table_has_a_row_for_each_case_and_a_column_for_each_length():
    def record(case, length, temp, argument):
        memory = {"temp": temp, "argument": argument, "output": 2**19}
        return {"case": case, "sizes": {"length": length}, "memory": memory}

    records = [
        record("attention", 256, 4 * 2**20, 2**20),
        record("attention", 128, 2**20, 2**19),
        record("decode_step", 256, 2**18, 0),
    ]
    assert memory_table(records).splitlines() == [
        "| MiB: temporaries + arguments, results | length 128 | length 256 |",
        "|---|---|---|",
        "| attention | 1.0 + 1.0 | 4.0 + 1.5 |",
        "| decode_step |  | 0.2 + 0.5 |",
    ]

"""Tests of benchmarks.peers: recorded arrays, and what would outdate them.

No peer is needed: scripts that are run here are run by this very Python.
"""

import importlib.metadata
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import environments
from benchmarks.peers import agreement
from benchmarks.peers import recordings
from benchmarks.peers.recording import read_recording
from keras_xf.launch import ProgramError
from keras_xf.launch import launch

ROOT = Path(__file__).parent.parent.parent
RECORDINGS = agreement.recordings(ROOT)
MAX_BYTES = 300_000

# Stands in for a peer: `factor.txt` is what a new version may change.
SCRIPT = """\
import sys
from pathlib import Path
import numpy as np
from recording import write_recording
factor = float(Path(__file__).with_name("factor.txt").read_text())
arrays = {"ids": np.arange(3, dtype="int32"), "values": factor * np.arange(3.0)}
write_recording(sys.argv[1], __file__, "numbers", arrays)
"""


@pytest.fixture
def numpy_version():
    return importlib.metadata.version("numpy")


@pytest.fixture
def repository(tmp_path, monkeypatch, numpy_version):
    """A repository of one script, its environment and its recording."""
    folder = tmp_path / "benchmarks" / "peers"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks" / "peers" / "recording.py", folder)
    (folder / "record_numbers_three.py").write_text(SCRIPT)
    (folder / "numbers.txt").write_text(f"numpy=={numpy_version}\n")
    (folder / "factor.txt").write_text("1.0")
    python = tmp_path / ".venv-peers" / "numbers" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(environments, "PEERS", tmp_path / ".venv-peers")
    monkeypatch.setattr(recordings, "ROOT", tmp_path)
    recordings.main(recordings.Options(update=True))
    return tmp_path


@pytest.fixture
def script(repository):
    return repository / "benchmarks" / "peers" / "record_numbers_three.py"


@pytest.fixture
def recording(repository):
    return repository / "tests" / "recorded" / "numbers_three.npz"


def rewrite(recording, **arrays):
    """Writes a recording with other arrays and the old account of them."""
    with np.load(recording) as file:
        arrays = {**file, **arrays}
    arrays = {name: x for name, x in arrays.items() if x is not None}
    np.savez_compressed(recording, **arrays)


def test_there_are_recordings_of_each_kind():
    peers = {agreement.peer_of(script) for script, _ in RECORDINGS.values()}
    assert peers == {
        "huggingface",
        "keras_hub",
        "model_garden",
        "sonnet",
        "torch",
        "vector_quantize_pytorch",
    }


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording_agrees_with_its_script_and_versions(name):
    script, recording = RECORDINGS[name]
    assert agreement.find_stale(script, recording) == []


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording_is_used_and_small(name):
    _, recording = RECORDINGS[name]
    tests = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_recorded_*.py")
    ]
    assert any(f'load("{name}")' in text for text in tests)
    assert recording.stat().st_size < MAX_BYTES
    arrays, _ = read_recording(recording)
    dtypes = {str(array.dtype) for array in arrays.values()}
    assert dtypes <= {"bool", "float32", "int32"}
    assert all(np.all(np.isfinite(array)) for array in arrays.values())


def test_recording_tells_what_made_it(recording, script, numpy_version):
    arrays, made_by = read_recording(recording)
    np.testing.assert_array_equal(arrays["values"], [0.0, 1.0, 2.0])
    assert arrays["values"].dtype == "float32"
    assert arrays["ids"].dtype == "int32"
    assert made_by["packages"] == {"numpy": numpy_version}
    assert made_by["script"] == "benchmarks/peers/record_numbers_three.py"
    assert agreement.find_stale(script, recording) == []
    # Recorded again, it is the same to the byte.
    assert recordings.compare_with_peer(script, recording) == []
    content = recording.read_bytes()
    recording.unlink()
    recordings.compare_with_peer(script, recording, update=True)
    assert recording.read_bytes() == content


def test_another_script_is_noticed(recording, script):
    script.write_text(SCRIPT + "# Changed.\n")
    lines = agreement.find_stale(script, recording)
    assert len(lines) == 1
    assert re.fullmatch("script_sha256 was [0-9a-f]{64}, is .{64}", lines[0])
    # Said once, though what it makes disagrees in the same.
    assert recordings.compare_with_peer(script, recording) == lines


def test_another_version_is_noticed(recording, script, numpy_version):
    script.with_name("numbers.txt").write_text("numpy==0.9\nkeras==3.15.1\n")
    assert agreement.find_stale(script, recording) == [
        "version of keras was None, is 3.15.1",
        f"version of numpy was {numpy_version}, is 0.9",
    ]


def test_another_array_is_noticed(recording, script):
    for arrays in (
        {"values": np.float32([0, 1, 3])},
        {"values": np.float64([0, 1, 2])},
        {"values": None},
        {"more": np.float32([0, 1, 2])},
    ):
        recordings.compare_with_peer(script, recording, update=True)
        assert agreement.find_stale(script, recording) == []
        rewrite(recording, **arrays)
        lines = agreement.find_stale(script, recording)
        assert len(lines) == 1
        assert re.fullmatch("arrays_sha256 was .{64}, is .{64}", lines[0])


def test_what_tells_nothing_of_its_maker_is_noticed(recording, script):
    rewrite(recording, made_by=None)
    lines = agreement.find_stale(script, recording)
    assert [line.split(" was ")[0] for line in lines] == [
        "version of numpy",
        "script",
        "script_sha256",
        "arrays_sha256",
    ]


def test_missing_scripts_and_recordings_are_noticed(
    repository, recording, script
):
    recording.unlink()
    assert agreement.recordings(repository) == {
        "numbers_three": (script, recording)
    }
    assert agreement.find_stale(script, recording) == [
        "numbers_three.npz is missing"
    ]
    recordings.compare_with_peer(script, recording, update=True)
    script.unlink()
    assert agreement.recordings(repository) == {
        "numbers_three": (script, recording)
    }
    expected = ["record_numbers_three.py is missing"]
    assert agreement.find_stale(script, recording) == expected
    assert recordings.compare_with_peer(script, recording) == expected


def test_another_result_of_the_peer_is_noticed(recording, script, capsys):
    content = recording.read_bytes()
    script.with_name("factor.txt").write_text("1.0000004")
    # Rounding, as on another processor: nothing to record anew either.
    recordings.main(recordings.Options(update=True))
    assert recording.read_bytes() == content
    script.with_name("factor.txt").write_text("1.1")
    lines = recordings.compare_with_peer(script, recording)
    assert lines == [
        "array values differs by 2.0e-01, its largest magnitude is 2.0e+00"
    ]
    assert recording.read_bytes() == content
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        launch(recordings.Options, recordings.main, ["recordings"])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == f"numbers_three: {lines[0]}\n"
    assert printed.err == (
        "Error: 1 recordings, 1 disagreements; `python -m "
        "benchmarks.peers.recordings --update` records what has a script "
        "anew.\n"
    )
    recordings.main(recordings.Options(update=True))
    assert capsys.readouterr().out == (
        "numbers_three: recorded anew\n1 recordings, 0 disagreements\n"
    )
    arrays, _ = read_recording(recording)
    np.testing.assert_allclose(arrays["values"], [0, 1.1, 2.2], rtol=1e-6)


def test_what_an_update_does_not_mend_still_fails(
    recording, script, numpy_version
):
    script.with_name("numbers.txt").write_text("numpy==0.9\n")
    with pytest.raises(ProgramError, match="1 recordings, 1 disagreements"):
        recordings.main(recordings.Options(update=True))
    assert agreement.find_stale(script, recording) == [
        f"version of numpy was {numpy_version}, is 0.9"
    ]


def test_a_script_that_fails_leaves_the_recording(recording, script):
    content = recording.read_bytes()
    script.write_text(SCRIPT + 'raise RuntimeError("no such layer")\n')
    lines = recordings.compare_with_peer(script, recording, update=True)
    assert lines[-1] == (
        "record_numbers_three.py failed with exit code 1: RuntimeError: no "
        "such layer"
    )
    assert recording.read_bytes() == content


def test_a_missing_environment_is_told(repository, recording, script):
    shutil.rmtree(repository / ".venv-peers")
    with pytest.raises(ValueError, match="`make peers`"):
        recordings.compare_with_peer(script, recording)


def test_a_script_is_named_after_its_peer(script):
    stray = script.with_name("record_letters.py")
    with pytest.raises(ValueError) as error:
        agreement.peer_of(stray)
    assert str(error.value) == (
        "`script` must be named after one peer of ['factor', 'numbers']. "
        "Received: script='record_letters.py'."
    )


VALUES = np.float32([1.0, -200.0, 1e-12])


@pytest.mark.parametrize(
    ("remade", "line"),
    [
        ({"x": VALUES}, None),
        ({"x": VALUES + np.float32([1e-4, 0, 1e-12])}, None),
        (
            {"x": VALUES + np.float32([1e-3, 0, 0])},
            "array x differs by 1.0e-03, its largest magnitude is 2.0e+02",
        ),
        (
            {"x": VALUES * np.float32([1, np.nan, 1])},
            "array x differs in what is finite",
        ),
        ({}, "array x is no longer made"),
        ({"x": VALUES, "y": VALUES}, "array y is not recorded"),
        (
            {"x": VALUES.astype("float64")},
            "array x has dtype float64, recorded is float32",
        ),
        (
            {"x": VALUES[:, None]},
            "array x has shape (3, 1), recorded is (3,)",
        ),
    ],
)
def test_compare_arrays(remade, line):
    lines = agreement.compare_arrays({"x": VALUES}, remade)
    assert lines == ([] if line is None else [line])


def test_compare_arrays_of_other_kinds():
    def compare(recorded, remade):
        return agreement.compare_arrays(
            {"x": np.array(recorded)}, {"x": np.array(remade)}
        )

    assert compare([1, 2], [1, 2]) == []
    assert compare([1, 2], [3, 2]) == ["array x differs in 1 values"]
    assert compare([True], [False]) == ["array x differs in 1 values"]
    odd = [np.nan, np.inf, 1.0]
    assert compare(odd, odd) == []
    assert compare(odd, [np.nan, -np.inf, 1.0]) == [
        "array x differs in what is infinite"
    ]
    # Noise where the result is zero.
    assert compare([1e-17], [-1e-17]) == []
    assert compare([1e-17], [1e-6]) != []
    assert compare(np.zeros(0), np.zeros(0)) == []

"""Tests of apps.training.checkpoints."""

import errno
import io

import ml_dtypes
import numpy as np
import pytest

from apps.training.checkpoints import Checkpoint
from apps.training.checkpoints import Checkpoints


def make(step, **changes):
    generator = np.random.default_rng(step)
    arrays = {
        "model/dense/kernel": generator.normal(size=(3, 4)).astype("float32"),
        "optimizer/adam/iteration": np.array(step, "int64"),
        "model/small": generator.normal(size=(2, 1)).astype(ml_dtypes.bfloat16),
        "model/single": np.array(1.5, ml_dtypes.bfloat16),
        "model/empty": np.zeros((0, 3), "float32"),
    }
    return Checkpoint(
        **{
            "step": step,
            "training_seconds": 1 / 3,
            "seconds_per_step": 1e-3,
            "data_fingerprint": {"sha256": "ab", "sizes": [1, 2]},
            "callbacks": {"EarlyStopping#1": {"best": 0.1, "wait": None}},
            "arrays": arrays,
            **changes,
        }
    )


def assert_same(actual, expected):
    assert {**vars(actual), "arrays": None} == {
        **vars(expected),
        "arrays": None,
    }
    assert actual.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert actual.arrays[name].dtype == array.dtype
        assert actual.arrays[name].shape == array.shape
        assert actual.arrays[name].tobytes() == array.tobytes()


def test_what_is_loaded_is_what_was_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load_newest() is None
    saved = make(7, stopped_because="time")
    checkpoints.save(saved)
    assert_same(checkpoints.load_newest(), saved)


def test_the_newest_by_number_is_loaded_and_as_many_stay_as_told(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (8, 9, 10, 100):
        checkpoints.save(make(step))
    assert checkpoints.steps() == [10, 100]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "100"]
    assert_same(checkpoints.load_newest(), make(100))


def bring_back(folder):
    """Undoes that checkpoint 2 was put aside."""
    (folder / "broken-2").rename(folder / "2")


@pytest.mark.parametrize("name", ["state.npz", "manifest.json"])
def test_a_broken_checkpoint_is_passed_over(tmp_path, name, caplog):
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(make(1))
    checkpoints.save(make(2))
    path = tmp_path / "2" / name
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    cuts = [0, 1, *generator.integers(2, len(whole) - 1, 8), len(whole) - 1]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        assert_same(checkpoints.load_newest(), make(1))
        assert f"passing over the broken checkpoint {tmp_path}/2" in caplog.text
        caplog.clear()
        bring_back(tmp_path)
    path.unlink()
    assert_same(checkpoints.load_newest(), make(1))
    bring_back(tmp_path)
    path.write_bytes(whole)
    assert_same(checkpoints.load_newest(), make(2))


def test_no_changed_byte_of_the_arrays_goes_unnoticed(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(make(1))
    checkpoints.save(make(2))
    path = tmp_path / "2" / "state.npz"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        found = checkpoints.load_newest()
        # Some bytes say nothing, such as the time of a file in an archive.
        assert_same(found, make(found.step))
        if found.step == 1:
            bring_back(tmp_path)


def test_a_broken_checkpoint_is_put_aside_and_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(make(1))
    for _ in range(2):
        for step in (2, 3):
            (tmp_path / str(step)).mkdir()
            (tmp_path / str(step) / "state.npz").write_text(f"half of {step}")
        assert_same(checkpoints.load_newest(), make(1))
        assert checkpoints.steps() == [1]
    checkpoints.save(make(4))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("4", "broken-2", "broken-2-2", "broken-3", "broken-3-2"),
    ]
    text = (tmp_path / "broken-3-2" / "state.npz").read_text()
    assert text == "half of 3"


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), MemoryError()]
)
def test_what_may_work_the_next_time_is_not_taken_for_damage(
    tmp_path, monkeypatch, error
):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(make(1))
    checkpoints.save(make(2))

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(io, "BytesIO", fail)
        with pytest.raises(type(error)):
            checkpoints.load_newest()
    assert_same(checkpoints.load_newest(), make(2))


def test_training_goes_on_from_before_a_broken_one_and_replaces_it(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2, 3):
        (tmp_path / str(step)).mkdir()
    checkpoints.save(make(1))
    # These can only be broken: otherwise training had begun there.
    assert checkpoints.steps() == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("1", "broken-1", "broken-2", "broken-3"),
    ]
    (tmp_path / "2").mkdir()
    checkpoints.save(make(2))
    assert checkpoints.steps() == [2]
    assert_same(checkpoints.load_newest(), make(2))


def test_what_the_dead_have_left_is_no_checkpoint_and_goes(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for name in (".aside-4", ".aside-old-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.npz").write_text("half")
    assert checkpoints.steps() == []
    assert checkpoints.load_newest() is None
    checkpoints.save(make(4))
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_a_run_whose_checkpoints_are_all_broken_does_not_begin_anew(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        checkpoints.save(make(step))
        (tmp_path / str(step) / "state.npz").write_bytes(b"")
    with pytest.raises(ValueError) as error:
        checkpoints.load_newest()
    assert str(error.value) == (
        "`run_dir` must have a checkpoint that is whole. Delete the broken "
        f"ones to begin anew. Received: checkpoints={str(tmp_path)!r}, "
        "steps=[1, 2]."
    )

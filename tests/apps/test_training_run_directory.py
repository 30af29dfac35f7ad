"""Tests of apps.training.run_directory."""

import dataclasses

import pytest

from apps.training import RunDirectory
from apps.training import TrainingOptions
from keras_xf.launch import load_options

MODEL = {"builder": "build", "arguments": {"dim": 8, "sizes": (1, 2)}}


@pytest.fixture
def options(tmp_path):
    return TrainingOptions(run_dir=str(tmp_path / "runs" / "a"))


@pytest.fixture
def run(options):
    run = RunDirectory(options.run_dir)
    with run.locked():
        run.check(options, MODEL)
        run.write(options, MODEL)
    return run


def test_it_holds_what_repeats_the_run(run, options):
    names = sorted(path.name for path in run.path.iterdir())
    assert names == ["model.json", "options.flags"]
    assert load_options(TrainingOptions, run.options) == options
    assert run.read_model_json() == {
        "builder": "build",
        "arguments": {"dim": 8, "sizes": [1, 2]},
    }


def test_the_same_run_goes_on(run, options):
    run.check(options, MODEL)
    run.check(dataclasses.replace(options, learning_rate=3.0), MODEL)


def test_another_model_is_refused_by_all_that_differs(run, options):
    other = {"builder": "make", "arguments": {"dim": 9, "depth": 2}}
    with pytest.raises(ValueError) as error:
        run.check(options, other)
    assert str(error.value) == (
        "`run_dir` must not hold a run of another model. These differ, there "
        "and here. Received: builder=('build', 'make'), dim=(8, 9), "
        "sizes=([1, 2], 'missing'), depth=('missing', 2)."
    )


def test_options_that_decide_the_course_are_refused(run, options):
    other = dataclasses.replace(
        options,
        seed=1,
        batch_size=2,
        optimizer="lion",
        dtype_policy="mixed_float16",
        learning_rate=3.0,
    )
    with pytest.raises(ValueError) as error:
        run.check(other, MODEL)
    assert str(error.value) == (
        "`run_dir` must not hold a run whose course was another. These differ, "
        "there and here. Received: seed=(0, 1), batch_size=(32, 2), "
        "optimizer=('adamw', 'lion'), "
        "dtype_policy=('float32', 'mixed_float16')."
    )


def test_two_trainings_at_once_are_refused(run):
    other = RunDirectory(run.path)
    with run.locked():
        with pytest.raises(ValueError) as error, other.locked():
            pass
        assert str(error.value) == (
            "`run_dir` must not be in use by another process. "
            f"Received: run_dir={str(run.path)!r}."
        )
    with other.locked():
        pass


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b'{"builder": "a"}', b'{"arguments": {}}']
    + [b'{"builder": "a", "arguments": 1}'],
)
def test_a_damaged_model_json_is_named(run, options, content):
    run.model_json.write_bytes(content)
    with pytest.raises(ValueError) as error:
        run.check(options, MODEL)
    assert str(error.value) == (
        "`run_dir` must have a model.json that holds a `builder` and its "
        f"`arguments`. Received: path={str(run.model_json)!r}."
    )


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_refused_run_leaves_no_new_empty_directory(
    tmp_path, is_old, is_empty
):
    run = RunDirectory(tmp_path / "runs" / "a")
    if is_old:
        run.path.mkdir(parents=True)
    with pytest.raises(ValueError, match="refused"), run.locked():
        if not is_empty:
            run.history.write_text("")
        raise ValueError("refused")
    assert run.path.exists() == (is_old or not is_empty)


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FileExistsError, match="file"),
        RunDirectory(tmp_path / "file").locked(),
    ):
        pass

"""Tests of apps.training.initial_weights."""

import json

import keras
import numpy as np
import pytest

from apps.training.initial_weights import load_initial_weights

MODEL = {"builder": "tiny", "arguments": {"width": 5, "sizes": (1, 2)}}


def make_model(width=4, dropout=0.5):
    inputs = keras.Input((3,))
    x = keras.layers.Dense(width)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(dropout)(x) if dropout else x
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile("adam", "mse")
    return model


@pytest.fixture
def source():
    """A model that has drawn from its seed."""
    model = make_model()
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model


@pytest.mark.parametrize("path", [".", "model.keras"])
def test_weights_are_taken_from_a_run_or_a_file(source, tmp_path, path):
    source.save(tmp_path / "model.keras")
    model = make_model()
    load_initial_weights(model, tmp_path / path, MODEL)
    for weight, expected in zip(
        model.get_weights(), source.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


def test_another_dropout_and_its_seed_do_not_matter(source, tmp_path):
    source.save(tmp_path / "model.keras")
    for dropout in (0.0, 0.1):
        model = make_model(dropout=dropout)
        seeds = [v for v in model.variables if "seed" in v.path]
        before = [np.array(seed) for seed in seeds]
        load_initial_weights(model, tmp_path, MODEL)
        np.testing.assert_array_equal(
            model.layers[1].kernel, source.layers[1].kernel
        )
        for seed, value in zip(seeds, before, strict=True):
            np.testing.assert_array_equal(seed, value)


@pytest.mark.parametrize("name", ["missing", "options.flags", "."])
def test_what_is_no_file_of_weights_is_refused(tmp_path, name):
    (tmp_path / "options.flags").write_text("")
    path = str(tmp_path / name)
    with pytest.raises(ValueError) as error:
        load_initial_weights(make_model(), path, MODEL)
    assert str(error.value) == (
        "`init_from` must be a .keras file or a run directory with a "
        f"model.keras. Received: init_from={path!r}."
    )


def test_weights_of_other_shapes_are_refused(source, tmp_path):
    source.save(tmp_path / "model.keras")
    with pytest.raises(ValueError) as error:
        load_initial_weights(
            make_model(width=5), tmp_path / "model.keras", MODEL
        )
    bias = "float32 (4,), not float32 (5,)"
    norm = [
        f"model/batch_normalization/{name}: {bias}"
        for name in ("beta", "gamma", "moving_mean", "moving_variance")
    ]
    different = [
        *norm,
        f"model/dense/bias: {bias}",
        "model/dense/kernel: float32 (3, 4), not float32 (3, 5)",
        "model/dense/kernel#2: float32 (4, 2), not float32 (5, 2)",
    ]
    assert str(error.value) == (
        "`init_from` must hold the variables of the model. Received: "
        f"missing=[], extra=[], different={different}."
    )


def write_model_json(folder, **arguments):
    content = {"builder": "tiny", "arguments": arguments}
    (folder / "model.json").write_text(json.dumps(content))


def test_a_run_of_another_model_is_refused_by_what_differs(source, tmp_path):
    source.save(tmp_path / "model.keras")
    write_model_json(tmp_path, width=4, sizes=[1, 2])
    with pytest.raises(ValueError) as error:
        load_initial_weights(make_model(width=5), tmp_path, MODEL)
    assert str(error.value) == (
        "`init_from` must not be a run of another model. These differ, there "
        "and here. Received: width=(4, 5)."
    )


def test_arguments_that_change_no_weight_do_not_matter(source, tmp_path):
    source.save(tmp_path / "model.keras")
    write_model_json(tmp_path, width=5, sizes=[1, 2], dropout=0.9)
    model = make_model()
    load_initial_weights(model, tmp_path, MODEL)
    np.testing.assert_array_equal(
        model.layers[1].kernel, source.layers[1].kernel
    )


def test_a_damaged_model_json_is_named(source, tmp_path):
    source.save(tmp_path / "model.keras")
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ValueError) as error:
        load_initial_weights(make_model(width=5), tmp_path, MODEL)
    assert str(error.value) == (
        "`init_from` must have a model.json that holds a `builder` and its "
        f"`arguments`. Received: path={str(tmp_path / 'model.json')!r}."
    )


def test_a_damaged_file_is_named(source, tmp_path):
    path = tmp_path / "model.keras"
    source.save(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError) as cause:
            keras.saving.load_model(path, compile=False)
        with pytest.raises(ValueError) as error:
            load_initial_weights(make_model(), tmp_path, MODEL)
        assert str(error.value) == (
            "`init_from` must lead to a Keras model that can be read. "
            f"Received: path={str(path)!r}, "
            f"error={f'ValueError: {cause.value}'!r}."
        )

"""Tests of apps.images."""

import dataclasses
import importlib.util
import json
import logging
import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.images import encode
from apps.images import evaluate
from apps.images import reconstruct
from apps.images import sample
from apps.images import train
from apps.images import train_prior
from apps.images.autoencoder import load_autoencoder
from apps.images.code_files import NAMES
from apps.images.code_files import Codes
from apps.images.code_files import read_codes
from apps.images.code_use import code_use
from apps.images.examples import ImageOptions
from apps.images.picture_grid import paired_grid
from apps.images.picture_grid import picture_grid
from apps.images.picture_grid import to_pixels
from apps.images.prior import load_prior
from apps.training import NonFiniteError
from keras_xf import models
from keras_xf.data.images import read_images
from keras_xf.files import sha256
from keras_xf.launch import launch
from keras_xf.launch import load_options
from tests.data.image_cases import make_images
from tests.data.image_cases import write_image

# What is shared is made here, and what a case is made of.
SHARED = {
    "num_halvings": 1,
    "code_dim": 8,
    "hidden_dim": 16,
    "residual_dim": 8,
    "num_residual_blocks": 1,
    "batch_size": 16,
    "train_steps": 120,
    "save_every_steps": 60,
    "optimizer": "adam",
    "learning_rate": 5e-3,
    "log_every_steps": 0,
    # It could not be turned off again for the tests behind these.
    "deterministic": False,
}
CASES = {
    "one": {
        "num_codes": 16,
        # Draws, which go on where a run was cut off.
        "bottleneck_options": '{"restart": {"fraction": 0.03}, "decay": 0.9}',
    },
    "two": {
        "num_levels": 2,
        "bottleneck": "dvq",
        "num_codes": 16,
        "bottleneck_options": '{"num_parts": 2, "decay": 0.9}',
    },
}
PRIORS = {
    "one": {
        "prior": "transformer",
        "class_conditional": True,
        "hidden_dim": 32,
        "num_heads": 2,
        "intermediate_dim": 64,
        "num_layers": 1,
        "dropout": 0.1,
    },
    "two": {
        "prior": "pixel_cnn",
        "hidden_dim": 16,
        "output_dim": 16,
        "num_layers": 1,
        "first_kernel_size": 3,
        "num_condition_blocks": 0,
        "dropout": 0.1,
    },
}


def bars(count, seed):
    """Gray bars on black, "across" or "down", by their labels."""
    generator = np.random.default_rng(seed)
    images = np.zeros((count, 8, 8), np.uint8)
    labels = generator.choice(["across", "down"], count)
    for image, label in zip(images, labels, strict=True):
        place, light = generator.integers(0, 7), generator.integers(120, 256)
        image[place : place + 2] = light
        if label == "down":
            image[:] = image.T.copy()
    return images, labels


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for split, count in {"train": 300, "validation": 37, "test": 21}.items():
        images, labels = bars(count, seed=count)
        np.savez(folder / f"{split}.npz", images=images, labels=labels)
    return folder


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def options(case, files, tmp_path_factory):
    return train.Options(
        run_dir=str(tmp_path_factory.mktemp("runs") / "run"),
        train_images=(str(files / "train.npz"),),
        validation_images=(str(files / "validation.npz"),),
        test_images=(str(files / "test.npz"),),
        **SHARED,
        **CASES[case],
    )


@pytest.fixture(scope="module")
def result(options):
    return train.train(options)


@pytest.fixture(scope="module")
def code_paths(options, result):
    """Codes on disk by part."""
    return {
        split: encode.encode(
            encode.Options(run_dir=options.run_dir, split=split)
        )
        for split in ("train", "validation", "test")
    }


@pytest.fixture(scope="module")
def prior_options(case, options, code_paths, tmp_path_factory):
    named = {}
    if case == "two":
        named = {
            "codes": str(code_paths["train"]),
            "validation_codes": str(code_paths["validation"]),
        }
    return train_prior.Options(
        run_dir=str(tmp_path_factory.mktemp("runs") / "prior"),
        autoencoder_dir=options.run_dir,
        batch_size=16,
        train_steps=200,
        save_every_steps=100,
        optimizer="adam",
        learning_rate=5e-3,
        log_every_steps=0,
        deterministic=False,
        **named,
        **PRIORS[case],
    )


@pytest.fixture(scope="module")
def prior_result(prior_options):
    return train_prior.train_prior(prior_options)


def floats(path):
    return np.load(path)["images"][..., None] / np.float32(255)


def test_learns_and_tells_how_it_does_on_the_validation(options, result, files):
    row = result.history[-1]
    assert row["val_relative_mse"] < 0.4
    images = floats(files / "validation.npz")
    decoded = result.model({"images": images}, training=False)
    mse = np.mean((decoded["reconstruction"] - images) ** 2)
    # 37 images in batches of 16: what fills up the last one does not count.
    assert row["val_mse"] == pytest.approx(mse, rel=1e-4)
    variance = floats(files / "train.npz").var()
    assert row["val_relative_mse"] == pytest.approx(mse / variance, rel=1e-4)
    codes = models.vq_vae_encoder(result.model)({"images": images})
    uses = code_use(
        {name: x.numpy() for name, x in codes.items()},
        models.num_codes(result.model),
    )
    for name, use in uses.items():
        prefix = f"val_{name.removesuffix('code_ids')}"
        for key, value in use.items():
            assert row[prefix + key] == pytest.approx(value)
    # None that is of the training and calls itself the validation's.
    told = {
        name
        for name in row
        if name.startswith("val_")
        and name.endswith(("perplexity", "active_codes", "dead_fraction"))
    }
    assert len(told) == 3 * len(uses)
    assert row["learning_rate"] == 0


def test_run_directory_holds_what_export_reads(options, result):
    folder = Path(options.run_dir)
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *("options.flags", "model.json", "model.keras", "history.csv"),
        *("learning_curve.png", "checkpoints", "images.json"),
    }
    description = json.loads((folder / "model.json").read_text())
    assert description["builder"] == "build_vq_vae"
    assert description["arguments"]["image_shape"] == [8, 8, 1]
    built = models.build(description)
    assert built.count_params() == result.model.count_params()
    # JSON with quotes and braces comes back from a flag file.
    again = load_options(train.Options, folder / "options.flags")
    assert again == options


def assert_same_weights(model, expected):
    for weight, other in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-3, atol=1e-4)


# Two levels take as long, and tell no more.
@pytest.mark.parametrize("case", ["one"], indirect=True, scope="module")
def test_a_run_that_was_cut_off_ends_the_same(case, options, result, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(options.run_dir, run_dir)
    shutil.rmtree(run_dir / "checkpoints" / "120")
    again = train.train(dataclasses.replace(options, run_dir=str(run_dir)))
    assert again.step == 120
    assert_same_weights(again.model, result.model)
    assert [{**row, "training_seconds": 0} for row in again.history] == [
        pytest.approx({**row, "training_seconds": 0}, rel=1e-3)
        for row in result.history
    ]


def test_codes_on_disk(options, result, code_paths, files):
    assert code_paths["test"] == Path(options.run_dir) / "codes" / "test.npz"
    # The last is the best here, or as good.
    model = keras.saving.load_model(Path(options.run_dir) / "model.keras")
    expected = models.vq_vae_encoder(model)(
        {"images": floats(files / "test.npz")}
    )
    with np.load(code_paths["test"]) as found:
        for name, codes in expected.items():
            assert found[name].dtype == np.int32
            np.testing.assert_array_equal(found[name], codes)
        np.testing.assert_array_equal(
            found["labels"], np.load(files / "test.npz")["labels"]
        )
        assert found["names"].tolist() == [f"test.npz:{i}" for i in range(21)]
        assert len(str(found["autoencoder_sha256"])) == 64
        assert len(found.files) == len(expected) + 3


def test_other_images_are_encoded_where_they_are_asked_for(
    options, result, code_paths, files, tmp_path
):
    path = encode.encode(
        encode.Options(
            run_dir=options.run_dir,
            images=(str(files / "test.npz"),),
            output=str(tmp_path / "new" / "codes.npz"),
            batch_size=4,
        )
    )
    assert path.parent.name == "new"
    assert [each.name for each in path.parent.iterdir()] == ["codes.npz"]
    with np.load(path) as found, np.load(code_paths["test"]) as expected:
        assert found.files == expected.files
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])


NUMBERS = {"code_ids": np.arange(12, dtype=np.int32).reshape(3, 2, 2)}
LABELS = ["x", "y", "z"]


def read_numbers(path):
    return read_codes(
        path, {"code_ids": (2, 2)}, {"code_ids": 12}, "0", "codes"
    )


@pytest.mark.parametrize("labels", [None, LABELS])
# One that is no UTF-8, as names of files may be.
@pytest.mark.parametrize("names", [None, ["cat/é.png", "b", "longer\udcff"]])
def test_codes_are_read_with_names_or_without(tmp_path, labels, names):
    path = tmp_path / "codes.npz"
    codes = Codes(NUMBERS, labels, "0", names=names)
    codes.save(path)
    with np.load(path) as arrays:
        assert ("names" in arrays) == (names is not None)
    found = read_numbers(path)
    np.testing.assert_array_equal(found.arrays["code_ids"], NUMBERS["code_ids"])
    assert found.labels == labels
    assert found.names == names
    assert found.sha256 == codes.sha256


def test_a_hash_of_codes_is_the_same_whatever_their_names():
    # As runs have recorded it.
    expected = (
        "0a313ac85845d4fe9a6b287af0abd9e2cf088dcc5a86b184c3b34a82b3e61103"
    )
    for names in (None, ["a", "b", "c"], ["b", "a", "c"]):
        assert Codes(NUMBERS, LABELS, "0", names=names).sha256 == expected


@pytest.mark.parametrize("name", ["labels", "names"])
@pytest.mark.parametrize("array", [["a", "b"], "abc", [["a"]] * 3, [1, 2, 3]])
def test_labels_and_names_are_strings_for_all_codes(tmp_path, name, array):
    path = tmp_path / "codes.npz"
    np.savez(path, autoencoder_sha256="0", **NUMBERS, **{name: array})
    with pytest.raises(ValueError) as error:
        read_numbers(path)
    shapes = {"code_ids": (3, 2, 2), name: np.shape(array)}
    assert str(error.value) == (
        "`codes` must name a file of codes as apps.images.encode writes it. "
        f"Received: path={str(path)!r}, shapes={shapes}."
    )


def read_png(path):
    return tf.io.decode_png(Path(path).read_bytes()).numpy()


@pytest.fixture
def absl_messages(caplog):
    """What programs log, while it is collected."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    # The root logger may hear of it, too: each once.
    yield lambda: list(dict.fromkeys(caplog.messages))
    logger.setLevel(level)
    logger.removeHandler(caplog.handler)


def test_reconstructions_are_drawn_below_their_originals(
    options, result, files, absl_messages
):
    path = reconstruct.reconstruct(
        reconstruct.Options(run_dir=options.run_dir, num_images=7, columns=4)
    )
    assert absl_messages()[-2:] == [
        "row 1 of originals: test.npz:0, test.npz:3, test.npz:6, test.npz:9",
        "row 2 of originals: test.npz:12, test.npz:15, test.npz:18",
    ]
    assert path == Path(options.run_dir) / "reconstructions.png"
    images = np.load(files / "test.npz")["images"][::3, ..., None]
    autoencoder = load_autoencoder(options.run_dir, "run_dir")
    decoded = autoencoder.decode(autoencoder.encode(images))
    expected = paired_grid(images, to_pixels(decoded), columns=4)
    np.testing.assert_array_equal(read_png(path), expected)
    # They look like what they are of.
    assert np.mean((decoded - images / 255) ** 2) < 0.4 * np.var(images / 255)


def test_the_prior_has_learned_and_holds_all_that_is_needed(
    case, prior_options, prior_result, options
):
    row = prior_result.history[-1]
    uniform = math.log2(16)
    assert row["val_bits_per_code"] < 0.75 * uniform
    assert row["loss"] == pytest.approx(
        row["bits_per_code"] * math.log(2), rel=1e-3
    )
    folder = Path(prior_options.run_dir)
    for name in ("model.json", "model.keras", "options.flags"):
        copy = folder / "autoencoder" / name
        assert copy.read_bytes() == (Path(options.run_dir) / name).read_bytes()
    if case == "one":
        assert (folder / "classes.txt").read_text() == "across\ndown\n"


# Two levels take as long, and tell no more.
@pytest.mark.parametrize("case", ["one"], indirect=True, scope="module")
def test_a_prior_that_was_cut_off_ends_the_same(
    case, prior_options, prior_result, tmp_path
):
    run_dir = tmp_path / "prior"
    shutil.copytree(prior_options.run_dir, run_dir)
    shutil.rmtree(run_dir / "checkpoints" / "200")
    again = train_prior.train_prior(
        dataclasses.replace(prior_options, run_dir=str(run_dir))
    )
    assert again.step == 200
    assert_same_weights(again.model, prior_result.model)


def test_what_is_evaluated_is_what_was_validated(
    options, result, prior_options, prior_result, capsys
):
    argv = ["--split=validation", "--batch_size=10"]
    printed = {}
    for run_dir in (options.run_dir, prior_options.run_dir):
        with pytest.raises(SystemExit) as exit_:
            launch(
                evaluate.Options,
                evaluate.main,
                ["evaluate", f"--run_dir={run_dir}", *argv],
            )
        assert exit_.value.code == 0
        printed[run_dir] = json.loads(capsys.readouterr().out)
    alone, both = printed.values()
    assert alone["images"] == 37
    assert 0 < alone["pixel_entropy_bits_per_dim"] < 8
    best = min(result.history, key=lambda row: row["val_mse"])
    assert alone["mse"] == pytest.approx(best["val_mse"], rel=1e-4)
    assert alone["relative_mse"] == pytest.approx(
        best["val_relative_mse"], rel=1e-4
    )
    numbers = {}
    for name, level in alone["codes"].items():
        prefix = f"val_{name.removesuffix('code_ids')}"
        assert level["perplexity"] == pytest.approx(best[f"{prefix}perplexity"])
        assert level["num_codes"] == 16
        numbers[name] = level["per_image"]
    assert numbers == (
        {"code_ids": 16}
        if len(numbers) == 1
        else {"top_code_ids": 4, "bottom_code_ids": 16}
    )
    total = sum(numbers.values())
    assert alone["uniform_bits_per_code"] == 4
    assert alone["uniform_bits_per_dim"] == pytest.approx(
        alone["reconstruction_bits_per_dim"] + 4 * total / 64
    )
    assert "bits_per_dim" not in alone
    best = min(prior_result.history, key=lambda row: row["val_bits_per_code"])
    assert both["prior_bits_per_code"] == pytest.approx(
        best["val_bits_per_code"], rel=1e-4
    )
    assert both["prior_bits_per_code"] == pytest.approx(
        sum(
            numbers[name] * level["bits_per_code"]
            for name, level in both["codes"].items()
        )
        / total
    )
    assert both["bits_per_dim"] == pytest.approx(
        alone["reconstruction_bits_per_dim"]
        + both["prior_bits_per_code"] * total / 64
    )
    assert both["bits_per_dim"] < both["uniform_bits_per_dim"]
    assert both.keys() - alone.keys() == {"prior_bits_per_code", "bits_per_dim"}


def test_samples_are_drawn_and_written(
    case, prior_options, prior_result, tmp_path
):
    arrays_path = tmp_path / "samples.npz"
    path = sample.sample(
        sample.Options(
            run_dir=prior_options.run_dir,
            num_images=20,
            npz=str(arrays_path),
            temperature=0.5,
        )
    )
    assert path == Path(prior_options.run_dir) / "samples.png"
    # They can be read as images are.
    drawn = read_images([arrays_path])
    count, columns = (40, 20) if case == "one" else (20, 5)
    assert drawn.images.shape == (count, 8, 8, 1)
    np.testing.assert_array_equal(
        read_png(path), picture_grid(drawn.images, columns)
    )
    with np.load(arrays_path) as arrays:
        codes = {name: arrays[name] for name in NAMES if name in arrays}
    autoencoder = load_autoencoder(
        Path(prior_options.run_dir) / "autoencoder", "run_dir"
    )
    np.testing.assert_array_equal(
        to_pixels(autoencoder.decode(codes)), drawn.images
    )
    # Bars, across or down: one of the two projections is uneven.
    images = drawn.images[..., 0].astype(float)
    spread = images.mean(2).std(1) - images.mean(1).std(1)
    assert np.mean(np.abs(spread) > 5) > 0.7
    if case == "one":
        is_across = np.array(drawn.labels) == "across"
        assert np.mean((spread > 0) == is_across) > 0.9
    else:
        assert drawn.labels is None


def test_an_image_depends_on_its_seed_and_class_alone(
    case, prior_options, prior_result
):
    prior = load_prior(prior_options.run_dir, "run_dir", batch_size=6)

    def draw(**arguments):
        options = sample.Options(run_dir=prior_options.run_dir, **arguments)
        codes = sample.draw(prior, options).codes
        return codes[max(codes)]

    first = draw(num_images=8)
    # In batches of others, and at other places in them.
    few = draw(num_images=7)
    for place in range(len(first) // 8):
        np.testing.assert_array_equal(
            few[7 * place :][:7], first[8 * place :][:7]
        )
    assert (draw(num_images=8, seed=1) != first).any()
    # The most probable codes have no draws.
    coldest = [draw(num_images=8, seed=seed, temperature=0) for seed in (0, 1)]
    np.testing.assert_array_equal(*coldest)
    if case == "one":
        down = draw(num_images=8, classes=("down",))
        np.testing.assert_array_equal(down, first[8:])
    unknown, known = ["up"], ["across", "down"]
    if case == "two":
        unknown, known = ["across", "up"], []
    with pytest.raises(ValueError) as error:
        draw(classes=("up", "across"))
    assert str(error.value) == (
        "`classes` must be classes of the prior. "
        f"Received: unknown={unknown}, known={known}."
    )


def test_another_autoencoder_is_refused(
    options, result, prior_options, prior_result, code_paths, tmp_path
):
    with np.load(code_paths["train"]) as arrays:
        arrays = dict(arrays)
    arrays["autoencoder_sha256"] = np.array("0123")
    path = tmp_path / "codes.npz"
    np.savez(path, **arrays)
    given = dataclasses.replace(
        prior_options, run_dir=str(tmp_path / "run"), codes=str(path)
    )
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(given)
    assert str(error.value).startswith(
        "`codes` must name codes of this autoencoder: encode the images again. "
        f"Received: path={str(path)!r}, made_by='0123', autoencoder="
    )
    # One that went on training since, at the same place.
    moved = tmp_path / "autoencoder"
    shutil.copytree(options.run_dir, moved)
    (moved / "model.keras").write_bytes(
        (moved / "model.keras").read_bytes() + b"\0"
    )
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(
            dataclasses.replace(
                prior_options,
                autoencoder_dir=str(moved),
                codes=None,
                validation_codes=None,
            )
        )
    assert "must not hold a run on other data" in str(error.value)
    assert "autoencoder_sha256=" in str(error.value)


@pytest.mark.parametrize("case", ["one"], indirect=True, scope="module")
def test_an_autoencoder_that_is_replaced_meanwhile_is_refused(
    case, options, result, prior_options, tmp_path, monkeypatch
):
    moved = tmp_path / "autoencoder"
    shutil.copytree(options.run_dir, moved)
    before = sha256(moved / "model.keras")

    def load_and_replace(*arguments):
        autoencoder = load_autoencoder(*arguments)
        with (moved / "model.keras").open("ab") as file:
            file.write(b"\0")
        return autoencoder

    hashed = []

    def hash_file(path):
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr(train_prior, "load_autoencoder", load_and_replace)
    monkeypatch.setattr(train_prior, "sha256", hash_file)
    given = dataclasses.replace(
        prior_options,
        run_dir=str(tmp_path / "prior"),
        autoencoder_dir=str(moved),
    )
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(given)
    assert str(error.value) == (
        "`autoencoder_dir` must hold the autoencoder that made the codes, "
        "which is not in training. Received: "
        f"autoencoder_dir={str(moved)!r}, made_by={before!r}, "
        f"autoencoder={sha256(moved / 'model.keras')!r}."
    )
    assert len(hashed) == 1
    assert [*(tmp_path / "prior" / "autoencoder").iterdir()] == []


def test_programs_tell_one_kind_of_run_from_another(
    options, result, prior_options, prior_result, tmp_path
):
    prior_dir = prior_options.run_dir
    builder = json.loads((Path(prior_dir) / "model.json").read_text())
    with pytest.raises(ValueError) as error:
        reconstruct.reconstruct(reconstruct.Options(run_dir=prior_dir))
    assert str(error.value) == (
        "`run_dir` must hold a trained autoencoder. Received: "
        f"run_dir={prior_dir!r}, builder={builder['builder']!r}."
    )
    with pytest.raises(ValueError) as error:
        sample.sample(sample.Options(run_dir=options.run_dir))
    assert str(error.value) == (
        "`run_dir` must hold a trained prior. "
        f"Received: run_dir={options.run_dir!r}, missing='autoencoder'."
    )
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(
            dataclasses.replace(
                prior_options, autoencoder_dir=str(tmp_path / "none")
            )
        )
    assert str(error.value) == (
        "`autoencoder_dir` must hold a trained autoencoder. Received: "
        f"autoencoder_dir={str(tmp_path / 'none')!r}, missing='options.flags'."
    )


@pytest.mark.parametrize("case", ["one"], indirect=True, scope="module")
def test_each_class_needs_a_name(case, prior_options, prior_result, tmp_path):
    run_dir = tmp_path / "prior"
    shutil.copytree(prior_options.run_dir, run_dir)
    (run_dir / "classes.txt").write_text("across\n")
    with pytest.raises(ValueError) as error:
        load_prior(run_dir, "run_dir")
    assert str(error.value) == (
        "`run_dir` must have a classes.txt with a name for each class. "
        f"Received: run_dir={str(run_dir)!r}, names=1, num_classes=2."
    )


def test_images_of_another_shape_or_without_labels_are_refused(
    case, options, result, prior_options, prior_result, tmp_path
):
    path = tmp_path / "images.npz"
    np.savez(path, images=make_images(2, 8, 8))
    with pytest.raises(ValueError) as error:
        encode.encode(
            encode.Options(
                run_dir=options.run_dir,
                images=(str(path),),
                output=str(tmp_path / "codes.npz"),
            )
        )
    assert str(error.value) == (
        "`images` must name images of the shape of those to learn from. "
        "Received: shape=(8, 8, 3), expected=(8, 8, 1)."
    )
    np.savez(path, images=make_images(2, 8, 8, 1))
    given = evaluate.Options(run_dir=prior_options.run_dir, images=(str(path),))
    if case == "two":
        assert evaluate.evaluate(given)["images"] == 2
        return
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(given)
    assert str(error.value) == (
        "`images` must have labels that the prior knows. "
        "Received: unknown=[], known=['across', 'down']."
    )


# Two levels take as long, and tell no more.
@pytest.mark.parametrize("case", ["one"], indirect=True, scope="module")
def test_images_that_are_no_longer_those_of_the_run_are_refused(
    case, options, result, prior_options, prior_result, files, tmp_path
):
    saved = (
        (files / "train.npz").read_bytes(),
        (files / "test.npz").read_bytes(),
    )
    for split, count in {"train": 300, "test": 21}.items():
        images, labels = bars(count, seed=count + 1)
        np.savez(files / f"{split}.npz", images=images, labels=labels)
    try:
        for split, flag, run in (
            (
                "test",
                "run_dir",
                lambda: encode.encode(encode.Options(run_dir=options.run_dir)),
            ),
            (
                "train",
                "run_dir",
                lambda: evaluate.evaluate(
                    evaluate.Options(run_dir=prior_options.run_dir)
                ),
            ),
            (
                "train",
                "autoencoder_dir",
                lambda: train_prior.train_prior(prior_options),
            ),
        ):
            with pytest.raises(ValueError) as error:
                run()
            message = str(error.value)
            assert message.startswith(
                f"`{flag}` must be of a run whose images are still what they "
                f"were. Received: {flag}="
            )
            assert f", split={split!r}, there=" in message
        # They may have another shape.
        np.savez(files / "test.npz", images=make_images(2, 4, 4, 1))
        with pytest.raises(ValueError) as error:
            encode.encode(encode.Options(run_dir=options.run_dir))
        assert "must name images of the shape of those" in str(error.value)
    finally:
        (files / "train.npz").write_bytes(saved[0])
        (files / "test.npz").write_bytes(saved[1])


@pytest.mark.parametrize("case", ["one"], indirect=True, scope="module")
def test_corrupt_images_are_left_out_of_codes_if_asked_for(
    case, options, result, tmp_path
):
    for place, image in enumerate(make_images(3, 8, 8, 1)):
        write_image(tmp_path / "images" / f"{place}.png", image)
    (tmp_path / "images" / "1.png").write_bytes(b"text")
    given = encode.Options(
        run_dir=options.run_dir,
        images=(str(tmp_path / "images"),),
        output=str(tmp_path / "codes.npz"),
    )
    with pytest.raises(ValueError, match="images that can be decoded"):
        encode.encode(given)
    encode.encode(dataclasses.replace(given, skip_corrupt_images=True))
    with np.load(given.output) as found:
        assert len(found["code_ids"]) == 2
        assert found["names"].tolist() == ["0.png", "2.png"]


def test_evaluate_has_no_figure_that_is_no_number(options, result, tmp_path):
    shutil.copytree(options.run_dir, tmp_path / "run")
    path = tmp_path / "run" / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    variable = model.get_layer("decoder").trainable_variables[-1]
    variable.assign(np.full(variable.shape, np.nan, "float32"))
    model.save(path)
    with pytest.raises(NonFiniteError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(tmp_path / "run")))
    assert str(error.value) == (
        f"The mse of the model in {tmp_path / 'run'} is not finite."
    )


def test_a_conditional_prior_needs_labels(options, result, tmp_path):
    codes = Codes(
        {
            name: np.zeros((20, *shape), np.int32)
            for name, shape in models.code_shapes(result.model).items()
        },
        None,
        "unknown",
    )
    given = train_prior.Options(
        run_dir=str(tmp_path / "run"),
        autoencoder_dir=options.run_dir,
        codes=str(tmp_path / "codes.npz"),
        class_conditional=True,
        deterministic=False,
    )
    codes = dataclasses.replace(
        codes, autoencoder_sha256=sha256_of(options.run_dir)
    )
    codes.save(given.codes)
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(given)
    assert str(error.value) == (
        "`class_conditional` must be off unless images have labels of two "
        "classes or more. Received: class_conditional=True, labels=[]."
    )
    # Nor if those to validate on have none, or others.
    validated = dataclasses.replace(
        given, validation_codes=str(tmp_path / "validation.npz")
    )
    dataclasses.replace(codes, labels=["a", "b"] * 10).save(given.codes)
    for labels, unknown in ((None, []), (["a", "c"] * 10, ["c"])):
        dataclasses.replace(codes, labels=labels).save(
            validated.validation_codes
        )
        with pytest.raises(ValueError) as error:
            train_prior.train_prior(validated)
        assert str(error.value) == (
            "`class_conditional` must be off unless the images to validate on "
            "have labels, all of them among those to learn from. Received: "
            f"class_conditional=True, split='validation', "
            f"has_labels={labels is not None}, unknown={unknown}, "
            "known=['a', 'b']."
        )
    # Those to learn from tell nothing about the validation.
    codes.save(given.codes)
    codes.save(validated.validation_codes)
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(validated)
    assert str(error.value) == (
        "`validation_codes` must be others than `codes`. Received: codes="
        f"{given.codes!r}, validation_codes={validated.validation_codes!r}."
    )
    # An index that the autoencoder has no code for.
    name = min(codes.arrays)
    codes.arrays[name][3, 0, 0] = 16
    codes.save(given.codes)
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(given)
    assert str(error.value).startswith(
        "`codes` must name a file of codes as apps.images.encode writes it. "
        f"Received: path={given.codes!r}, shapes="
    )
    Path(given.codes).write_bytes(b"text")
    with pytest.raises(ValueError) as error:
        train_prior.train_prior(given)
    assert str(error.value).startswith(
        "`codes` must name a file of codes that can be read. "
        f"Received: path={given.codes!r}, error="
    )
    assert not Path(given.run_dir).exists()


def sha256_of(run_dir):
    path = Path(run_dir) / "codes" / "train.npz"
    with np.load(path) as arrays:
        return str(arrays["autoencoder_sha256"])


def test_digits_are_the_default_and_shared_out():
    parts = ImageOptions().read()
    counts = {split: len(part.images) for split, part in parts.items()}
    assert sum(counts.values()) == 1797
    assert list(counts) == ["train", "validation", "test"]
    assert 140 < counts["validation"] < 230 > counts["test"] > 140
    pixels = {
        split: {image.tobytes() for image in part.images}
        for split, part in parts.items()
    }
    assert not pixels["test"] & (pixels["train"] | pixels["validation"])
    assert not pixels["validation"] & pixels["train"]
    # The test part does not depend on whether there is a validation.
    other = ImageOptions(validation_fraction=0).read()
    assert list(other) == ["train", "test"]
    np.testing.assert_array_equal(other["test"].images, parts["test"].images)


def test_corrupt_images_stop_a_training_or_are_told_and_left_out(
    tmp_path, absl_messages
):
    images = make_images(40)
    for place, image in enumerate(images):
        write_image(tmp_path / "images" / f"{place}.png", image)
    path = tmp_path / "images" / "7.png"
    path.write_bytes(path.read_bytes()[:50])
    given = {"train_images": (str(tmp_path / "images"),), "image_size": 4}
    with pytest.raises(ValueError) as error:
        train.train(
            train.Options(
                run_dir=str(tmp_path / "run"), deterministic=False, **given
            )
        )
    assert str(error.value).startswith(
        "`train_images` must name images that can be decoded. "
        f"Received: path={str(path)!r}, error='Invalid PNG data"
    )
    assert not (tmp_path / "run").exists()
    parts = ImageOptions(skip_corrupt_images=True, **given).read()
    assert sum(len(part.images) for part in parts.values()) == 39
    assert parts["train"].images.shape[1:] == (4, 4, 3)
    # Whichever part an image has come to, its name tells its file.
    names = [name for part in parts.values() for name in part.names]
    assert sorted(names) == sorted(f"{i}.png" for i in range(40) if i != 7)
    for part in parts.values():
        places = [int(name.removesuffix(".png")) for name in part.names]
        np.testing.assert_array_equal(part.images, images[places, :, :4])
    (message,) = absl_messages()
    assert message.startswith(
        f"leaving out the corrupt image {path} (Invalid PNG data"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"validation_images": ("a",)},
            "`validation_images` and `test_images` must be empty unless there "
            "are `train_images`. Received: validation_images=('a',), "
            "test_images=().",
        ),
        (
            {"train_labels": ("a",)},
            "`train_labels` must be empty unless there are `train_images`. "
            "Received: train_labels=('a',).",
        ),
        (
            {"test_fraction": 1.0},
            "`test_fraction` must lie in [0, 1). Received: test_fraction=1.0.",
        ),
        (
            {"test_fraction": 0.5, "validation_fraction": 0.5},
            "`validation_fraction` and `test_fraction` must be less than 1 "
            "together. Received: validation_fraction=0.5, test_fraction=0.5.",
        ),
        (
            {"image_size": 0},
            "`image_size` must be positive. Received: image_size=0.",
        ),
        (
            {"bottleneck_options": "[1"},
            "`bottleneck_options` must be a JSON object. "
            "Received: bottleneck_options='[1'.",
        ),
        (
            {"bottleneck_options": "[1]"},
            "`bottleneck_options` must be a JSON object. "
            "Received: bottleneck_options='[1]'.",
        ),
    ],
)
def test_train_rejects_options(arguments, message):
    with pytest.raises(ValueError) as error:
        train.Options(run_dir="unused", **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (
            np.zeros((40, 4, 4), np.uint8),
            {},
            "`normalize_loss` must be off where all pixels are alike. "
            "Received: normalize_loss=True.",
        ),
        (
            make_images(5),
            {"validation_fraction": 0, "test_fraction": 0},
            "`train_images` must have `batch_size` images to learn from. "
            "Received: images=5, batch_size=32.",
        ),
        (
            make_images(2),
            {"test_fraction": 1e-9},
            "`train_images` must be enough for a part of `test_fraction`; "
            "there is none with --test_fraction=0. "
            "Received: images=2, test_fraction=1e-09.",
        ),
    ],
)
def test_train_rejects_images(tmp_path, images, arguments, message):
    np.savez(tmp_path / "images.npz", images=images)
    with pytest.raises(ValueError) as error:
        train.train(
            train.Options(
                run_dir=str(tmp_path / "run"),
                train_images=(str(tmp_path / "images.npz"),),
                deterministic=False,
                **{"validation_fraction": 0, "test_fraction": 0, **arguments},
            )
        )
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: train_prior.Options(
                run_dir="a", autoencoder_dir="b", validation_codes="c"
            ),
            "`validation_codes` must be none unless there are `codes`. "
            "Received: validation_codes='c'.",
        ),
        (
            lambda: train_prior.Options(
                run_dir="a", autoencoder_dir="b", kernel_size=5
            ),
            "`kernel_size` must be left out: a transformer has none. "
            "Received: kernel_size=5, model='transformer'.",
        ),
        (
            lambda: train_prior.Options(
                run_dir="a", autoencoder_dir="b", prior="pixel_cnn", num_heads=2
            ),
            "`num_heads` must be left out: a pixel_cnn has none. "
            "Received: num_heads=2, model='pixel_cnn'.",
        ),
        (
            lambda: sample.Options(run_dir="a", temperature=math.inf),
            "`temperature` must be finite and not negative. "
            "Received: temperature=inf.",
        ),
        (
            lambda: sample.Options(run_dir="a", num_images=0),
            "`num_images` must be positive, and 65536 at most. "
            "Received: num_images=0.",
        ),
        (
            lambda: sample.Options(run_dir="a", seed=2**31),
            "`seed` must lie in [0, 2**31). Received: seed=2147483648.",
        ),
        (
            lambda: sample.Options(run_dir="a", npz="a.png"),
            "`npz` must end in .npz. Received: npz='a.png'.",
        ),
        (
            lambda: encode.Options(run_dir="a", images=("b",)),
            "`output` must be given where `images` are. Received: output=None.",
        ),
        (
            lambda: encode.Options(run_dir="a", output="codes"),
            "`output` must end in .npz. Received: output='codes'.",
        ),
        (
            lambda: evaluate.Options(run_dir="a", labels=("b",)),
            "`labels` must be empty unless there are `images`. "
            "Received: labels=('b',).",
        ),
        (
            lambda: evaluate.Options(run_dir="a", skip_corrupt_images=True),
            "`skip_corrupt_images` must be off unless there are `images`. "
            "Received: skip_corrupt_images=True.",
        ),
        (
            lambda: evaluate.Options(run_dir="a", batch_size=0),
            "`batch_size` must be positive. Received: batch_size=0.",
        ),
        (
            lambda: reconstruct.Options(
                run_dir="a", images=("b",), labels=("c",)
            ),
            "`labels` must be empty: nothing is drawn of them. "
            "Received: labels=('c',).",
        ),
        (
            lambda: train_prior.Options(
                run_dir="a",
                autoencoder_dir="b",
                prior="pixel_cnn",
                num_condition_blocks=0,
            ).describe({"code_ids": (2, 2)}, {"code_ids": 4}, None),
            "`num_condition_blocks` must be left out: a prior of one level has "
            "none. Received: num_condition_blocks=0, "
            "model='prior of one level'.",
        ),
        (
            lambda: reconstruct.Options(run_dir="a", columns=0),
            "`columns` must be positive. Received: columns=0.",
        ),
    ],
)
def test_other_programs_reject_options(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("program", ["train", "train_prior"])
def test_a_missing_matplotlib_is_told_before_the_work(
    tmp_path, monkeypatch, program
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "matplotlib" else find(name),
    )
    run_dir = str(tmp_path / "not_made")
    with pytest.raises(ValueError, match="which needs matplotlib"):
        if program == "train":
            train.train(train.Options(run_dir=run_dir))
        else:
            train_prior.train_prior(
                train_prior.Options(run_dir=run_dir, autoencoder_dir="none")
            )
    assert not Path(run_dir).exists()


def test_the_flags_of_the_demo_are_options():
    folder = Path(train.__file__).parent
    seen = []
    for options_type, name in (
        (train.Options, "demo.flags"),
        (train_prior.Options, "prior.flags"),
    ):
        with pytest.raises(SystemExit) as exit_:
            launch(
                options_type,
                seen.append,
                ["program", f"--flagfile={folder / name}"],
            )
        assert exit_.value.code == 0
    assert seen[0].run_dir == seen[1].autoencoder_dir == "runs/digits"
    assert not seen[0].train_images
    assert seen[1].class_conditional


def test_gray_images_get_the_channels_of_those_to_learn_from(tmp_path):
    gray, colored = make_images(3, channels=1), make_images(9, seed=1)
    np.savez(tmp_path / "gray.npz", images=gray)
    np.savez(tmp_path / "colored.npz", images=colored)
    named = {
        name: (str(tmp_path / f"{name}.npz"),) for name in ("gray", "colored")
    }
    parts = ImageOptions(
        train_images=named["colored"],
        validation_images=named["gray"],
        test_images=named["colored"],
    ).read()
    np.testing.assert_array_equal(parts["train"].images, colored)
    np.testing.assert_array_equal(
        parts["validation"].images, gray.repeat(3, axis=-1)
    )
    assert parts["validation"].names == [
        "gray.npz:0",
        "gray.npz:1",
        "gray.npz:2",
    ]
    with pytest.raises(ValueError) as error:
        ImageOptions(
            train_images=named["gray"],
            validation_images=named["colored"],
            test_fraction=0,
        ).read()
    assert str(error.value) == (
        "`validation_images` must name images of the shape of those to learn "
        "from. Received: shape=(4, 5, 3), expected=(4, 5, 1)."
    )

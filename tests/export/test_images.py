"""Tests of export.saved_model on run directories of images and codes."""

import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import saved_model
from keras_xf import models
from tests.serving.cases import run
from tests.serving.image_models import autoencoder_description
from tests.serving.image_models import prior_description


def write_run(folder, description):
    """What a training leaves, as far as export reads it."""
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(description))
    model = models.build(description)
    model.save(folder / "model.keras")
    return model


@pytest.fixture(scope="module")
def autoencoder_dir(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "autoencoder"
    write_run(run_dir, autoencoder_description())
    return run_dir


def write_prior_run(run_dir, autoencoder_dir, builder, **arguments):
    autoencoder = models.build(autoencoder_description())
    description = prior_description(builder, autoencoder, **arguments)
    prior = write_run(run_dir, description)
    shutil.copytree(autoencoder_dir, run_dir / "autoencoder")
    # Of a prior without classes it is not read.
    (run_dir / "classes.txt").write_text("ant\nbee\n")
    return prior


@pytest.fixture
def published(monkeypatch):
    """What is handed over to be published. That takes longer, elsewhere."""
    calls = []

    def publish(bundles, export_dir, **arguments):
        calls.append((bundles, arguments))
        return dict.fromkeys(bundles, export_dir)

    monkeypatch.setattr(saved_model.serving, "publish", publish)
    return calls


def test_a_prior_is_published_with_its_autoencoder(autoencoder_dir, tmp_path):
    run_dir = tmp_path / "run"
    prior = write_prior_run(
        run_dir,
        autoencoder_dir,
        "build_code_transformer",
        dtype="mixed_bfloat16",
    )
    # Only if it keeps the contract, run as a server would.
    (folder,) = saved_model.export(
        saved_model.Options(
            run_dir=str(run_dir), export_dir=str(tmp_path / "served")
        )
    )
    assert folder == tmp_path / "served" / "images" / "1"
    manifest = json.loads(
        (folder / "assets.extra" / "keras_xf_export.json").read_text()
    )
    assert manifest["model"]["builder"] == "build_code_transformer"
    assert manifest["autoencoder"]["builder"] == "build_vq_vae"
    for key, files in (
        ("run_sha256", run_dir),
        ("autoencoder_sha256", autoencoder_dir),
    ):
        assert manifest[key] == {
            name: hashlib.sha256((files / name).read_bytes()).hexdigest()
            for name in ("model.json", "model.keras")
        }
    assert manifest["dtype_policies"] == ["mixed_bfloat16"]
    assert manifest["random_signatures"] == ["sample"]
    loaded = tf.saved_model.load(folder)
    request = {
        "seed": np.array([[1, 2], [3, 4]], "int32"),
        "temperature": np.ones(2, "float32"),
    }
    results = run(loaded.signatures["sample"], request)
    codes = models.code_sampler(prior)(None, **request)
    np.testing.assert_array_equal(results["code_ids"], codes["code_ids"])
    decoded = run(loaded.signatures["decode_codes"], codes)
    np.testing.assert_allclose(
        decoded["reconstruction"], results["images"], atol=1e-5
    )


def test_an_autoencoder_is_published_alone(autoencoder_dir, published):
    saved_model.export(
        saved_model.Options(run_dir=str(autoencoder_dir), export_dir="served")
    )
    ((bundles, arguments),) = published
    assert arguments["origin"]["model"] == autoencoder_description()
    assert "autoencoder" not in arguments["origin"]
    assert arguments["origin"]["dtype_policies"] == ["float32"]
    assert arguments["run_as_served"]
    bundle = bundles["images"]
    assert "sample" not in bundle.signatures
    request = bundle.requests["encode_codes"][1]
    codes = run(bundle.traced["encode_codes"], request)
    results = run(bundle.traced["decode_codes"], codes)
    model = keras.saving.load_model(autoencoder_dir / "model.keras")
    expected = model(request)["reconstruction"]
    np.testing.assert_allclose(
        results["reconstruction"], np.clip(expected, 0, 1), atol=1e-5
    )


def test_classes_have_their_names(autoencoder_dir, tmp_path, published):
    run_dir = tmp_path / "run"
    write_prior_run(run_dir, autoencoder_dir, "build_pixel_cnn", num_classes=2)
    options = saved_model.Options(run_dir=str(run_dir), export_dir="served")
    saved_model.export(options)
    ((bundles, _),) = published
    assert bundles["images"].names == {"classes.txt": ["ant", "bee"]}
    (run_dir / "classes.txt").unlink()
    with pytest.raises(ValueError) as error:
        saved_model.export(options)
    assert str(error.value) == (
        "`run_dir` must hold a file classes.txt. "
        f"Received: run_dir={str(run_dir)!r}."
    )


def test_what_means_nothing_to_images_is_refused(autoencoder_dir):
    with pytest.raises(ValueError) as error:
        saved_model.export(
            saved_model.Options(
                run_dir=str(autoencoder_dir), export_dir="served", top_k=3
            )
        )
    assert str(error.value) == (
        "`top_k` must be left out for a model of this kind. "
        "Received: builder='build_vq_vae', top_k=3."
    )


def test_a_damaged_run_directory_is_told(autoencoder_dir, tmp_path):
    run_dir = tmp_path / "run"
    write_prior_run(run_dir, autoencoder_dir, "build_pixel_cnn")
    folder = run_dir / "autoencoder"

    def message():
        with pytest.raises(ValueError) as error:
            saved_model.export(
                saved_model.Options(
                    run_dir=str(run_dir), export_dir=str(tmp_path / "served")
                )
            )
        assert not (tmp_path / "served").exists()
        return str(error.value)

    shutil.copy(run_dir / "model.json", folder / "model.json")
    assert message().startswith(
        "`autoencoder` must be of the builder build_vq_vae. "
        f"Received: path={str(folder / 'model.json')!r}, builder='build_"
    )
    shutil.rmtree(folder)
    assert message() == (
        f"`run_dir` must be a directory. Received: run_dir={str(folder)!r}."
    )

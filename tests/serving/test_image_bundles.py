"""Tests of keras_xf.serving.image_bundles, live and published."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf import serving
from keras_xf.contract.session import Session
from keras_xf.contract.warm_up import read_warm_up
from keras_xf.protocol.status import ServingError
from tests.serving.cases import assert_alike
from tests.serving.cases import run
from tests.serving.image_models import autoencoder_description
from tests.serving.image_models import nodes_of
from tests.serving.image_models import prior_description

CLASSES = ["ant", "bee", "crab"]


@pytest.fixture(scope="module")
def autoencoder():
    return models.build(autoencoder_description(num_levels=2))


@pytest.fixture(scope="module")
def prior(autoencoder):
    return models.build(
        prior_description("build_pixel_cnn", autoencoder, num_classes=3)
    )


@pytest.fixture(scope="module")
def bundle(autoencoder, prior):
    (bundle,) = serving.image_bundles(autoencoder, prior, CLASSES).values()
    return bundle


@pytest.fixture(scope="module")
def export_dir(bundle, tmp_path_factory):
    """Published only if it keeps the contract, run as a server would."""
    export_dir = tmp_path_factory.mktemp("served")
    serving.publish({"images": bundle}, export_dir)
    return export_dir


@pytest.fixture(scope="module")
def signatures(export_dir):
    return tf.saved_model.load(export_dir / "images" / "1").signatures


@pytest.fixture(scope="module")
def alone():
    """An autoencoder of one level, without a prior, whose functions run."""
    model = models.build(autoencoder_description())
    (bundle,) = serving.image_bundles(model).values()
    return model, bundle


def images_of(number):
    generator = np.random.default_rng(0)
    return generator.uniform(size=(number, 10, 9, 3)).astype("float32")


def codes_of(number):
    generator = np.random.default_rng(0)
    return {
        "top_code_ids": generator.integers(0, 8, (number, 2, 2), "int32"),
        "bottom_code_ids": generator.integers(0, 8, (number, 3, 3), "int32"),
    }


def sampling(number):
    rows = np.arange(number)
    return {
        "class_ids": (rows % 3).astype("int32"),
        "seed": np.stack([rows, rows + 5], axis=1).astype("int32"),
        "temperature": np.linspace(0, 1.5, number).astype("float32"),
    }


def test_images_get_the_codes_of_the_model(signatures, autoencoder):
    images = images_of(3)
    results = run(signatures["encode_codes"], {"images": images})
    expected = models.vq_vae_encoder(autoencoder)({"images": images})
    assert_alike(results, expected)
    assert {codes.dtype.name for codes in results.values()} == {"int32"}
    assert np.ptp(results["bottom_code_ids"]) > 0


def test_codes_become_the_images_of_the_model(signatures, autoencoder):
    codes = codes_of(3)
    for name in ("decode_codes", "serving_default"):
        results = run(signatures[name], codes)
        expected = models.vq_vae_decoder(autoencoder)(codes)
        expected = np.clip(expected["reconstruction"], 0, 1)
        assert_alike(results, {"reconstruction": expected})
    assert np.ptp(expected) > 0.01


def test_what_is_encoded_comes_back_as_the_model_makes_it(
    signatures, autoencoder
):
    images = images_of(2)
    codes = run(signatures["encode_codes"], {"images": images})
    results = run(signatures["decode_codes"], codes)
    expected = autoencoder({"images": images}, training=False)
    np.testing.assert_allclose(
        results["reconstruction"],
        np.clip(expected["reconstruction"], 0, 1),
        atol=1e-5,
    )


def test_what_is_drawn_is_what_the_sampler_draws(
    signatures, autoencoder, prior
):
    request = sampling(4)
    results = run(signatures["sample"], request)
    images = results.pop("images")
    assert_alike(results, models.code_sampler(prior)(**request))
    expected = models.vq_vae_decoder(autoencoder)(results)["reconstruction"]
    np.testing.assert_allclose(images, np.clip(expected, 0, 1), atol=1e-5)
    assert images.dtype == np.float32
    # Each has a seed of its own.
    assert len(np.unique(results["bottom_code_ids"], axis=0)) == 4


def test_a_row_does_not_depend_on_those_beside_it(signatures):
    for name, request in (
        ("encode_codes", {"images": images_of(3)}),
        ("decode_codes", codes_of(3)),
        ("sample", sampling(3)),
    ):
        together = run(signatures[name], request)
        for row in range(3):
            one = {key: array[[row]] for key, array in request.items()}
            assert_alike(
                run(signatures[name], one),
                {key: array[[row]] for key, array in together.items()},
            )


def test_no_rows_give_no_results(signatures):
    for name, request in (
        ("encode_codes", {"images": images_of(0)}),
        ("decode_codes", codes_of(0)),
        ("sample", sampling(0)),
    ):
        shapes = {
            "reconstruction": (0, 10, 9, 3),
            "images": (0, 10, 9, 3),
            "top_code_ids": (0, 2, 2),
            "bottom_code_ids": (0, 3, 3),
        }
        for key, array in run(signatures[name], request).items():
            assert array.shape == shapes[key]


@pytest.mark.parametrize(
    ("bottleneck", "builder"),
    [
        ("vq_ema", "build_code_transformer"),
        ("vq", "build_pixel_cnn"),
        ("dvq", None),
        ("gumbel_softmax", None),
        ("semantic_hashing", None),
    ],
)
def test_no_rows_give_none_of_one_level(bottleneck, builder):
    options = {"num_parts": 3} if bottleneck == "dvq" else {}
    model = models.build(
        autoencoder_description(
            bottleneck=bottleneck, bottleneck_options=options, code_dim=6
        )
    )
    prior = None
    if builder is not None:
        prior = models.build(prior_description(builder, model))
    (bundle,) = serving.image_bundles(model, prior).values()
    request = {
        "images": images_of(0),
        "code_ids": np.zeros((0, 3, 3), "int32"),
        **sampling(0),
    }
    for name, function in bundle.traced.items():
        specs = bundle.signatures[name].input_signature
        inputs = {spec.name: request[spec.name] for spec in specs}
        for key, array in run(function, inputs).items():
            shape = (3, 3) if key == "code_ids" else (10, 9, 3)
            assert array.shape == (0, *shape)
    assert len(bundle.traced) == (3 if prior is None else 4)


def test_nothing_is_written_and_only_samples_are_drawn(bundle, alone):
    for some in (bundle, alone[1]):
        for name, function in some.traced.items():
            ops = {node.op for node in nodes_of(function)}
            assert len(ops) > 10
            assert not [op for op in ops if "Assign" in op]
            drawn = [op for op in ops if "Random" in op]
            assert all(op.startswith("Stateless") for op in drawn)
            assert bool(drawn) == (name == "sample")
    assert bundle.random_signatures == ["sample"]
    assert alone[1].random_signatures == []


def test_what_is_served_tells_what_it_is(bundle, export_dir):
    assert set(bundle.signatures) == {
        "encode_codes",
        "decode_codes",
        "sample",
        "serving_default",
    }
    assert bundle.core_ops_only
    folder = export_dir / "images" / "1"
    assert (folder / "assets" / "classes.txt").read_text() == "ant\nbee\ncrab\n"
    manifest = json.loads(
        (folder / "assets.extra" / "keras_xf_export.json").read_text()
    )
    assert manifest["limits"] == {
        "image_shape": [10, 9, 3],
        "num_codes": 8,
        "num_classes": 3,
    }
    page = (export_dir / "README.md").read_text()
    for sentence in (
        "Writes images as codes.",
        "a line of `assets/classes.txt`",
        # 270 numbers, without the numbers.
        "[[[[0.5] * 3] * 9] * 10]",
        "400: a code that is not in the codebook",
        "400: a class that is not there",
    ):
        assert sentence in page
    # Of one row and of three, for each of four names.
    sizes = [
        len(next(iter(request.inputs.values())))
        for request in read_warm_up(folder)
    ]
    assert sorted(sizes) == [1] * 4 + [3] * 4


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "encode_codes",
            {"images": 255 * images_of(1)},
            "[`images` must lie in [0, 1]. Received:] [",
        ),
        (
            "encode_codes",
            {"images": np.full((1, 10, 9, 3), np.nan, "float32")},
            "[`images` must lie in [0, 1]. Received:] [nan nan nan...]",
        ),
        (
            "decode_codes",
            {"top_code_ids": np.array([[[0, 8], [7, 0]]], "int32")},
            "[`top_code_ids` must lie in [0, 8). Received:] [8]",
        ),
        (
            "decode_codes",
            {"bottom_code_ids": np.full((1, 3, 3), -1, "int32")},
            "[`bottom_code_ids` must lie in [0, 8). Received:] [-1 -1 -1...]",
        ),
        (
            "decode_codes",
            {"bottom_code_ids": np.zeros((2, 3, 3), "int32")},
            "[`bottom_code_ids` must have as many rows as `top_code_ids`. "
            "Received:] [2] [1]",
        ),
        (
            "sample",
            {"class_ids": np.array([3], "int32")},
            "[`class_ids` must lie in [0, 3). Received:] [3]",
        ),
        (
            "sample",
            {"temperature": np.array([-1], "float32")},
            "[`temperature` must be finite and not negative. Received:] [-1]",
        ),
        (
            "sample",
            {"seed": np.array([[1, 2], [3, 4]], "int32")},
            "[`seed` must have as many rows as `class_ids`. Received:] [2] [1]",
        ),
    ],
)
def test_bad_requests_are_told_what_is_wrong(signatures, name, change, message):
    given = {
        "encode_codes": {"images": images_of(1)},
        "decode_codes": codes_of(1),
        "sample": sampling(1),
    }[name]
    run(signatures[name], given)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(signatures[name], {**given, **change})
    assert message in error.value.message


def test_what_has_another_size_is_refused(export_dir):
    wrong = [
        ("encode_codes", {"images": np.zeros((1, 9, 9, 3), "float32")}),
        ("encode_codes", {"images": np.zeros((1, 10, 9, 1), "float32")}),
        ("encode_codes", {"images": np.zeros((10, 9, 3), "float32")}),
        (
            "decode_codes",
            {**codes_of(1), "bottom_code_ids": np.zeros((1, 4, 3), "int32")},
        ),
    ]
    # As a server runs it, which lets all shapes pass.
    with Session(export_dir / "images" / "1") as session:
        for name, inputs in wrong:
            with pytest.raises(ServingError) as error:
                session.run(name, inputs)
            assert "compatible with" in str(error.value)


def test_an_autoencoder_of_one_level_needs_no_prior(alone):
    model, bundle = alone
    assert set(bundle.signatures) == {
        "encode_codes",
        "decode_codes",
        "serving_default",
    }
    assert bundle.limits == {
        "image_shape": [10, 9, 3],
        "num_codes": 8,
        "num_classes": None,
    }
    images = images_of(2)
    codes = run(bundle.traced["encode_codes"], {"images": images})
    assert codes["code_ids"].shape == (2, 3, 3)
    results = run(bundle.traced["decode_codes"], codes)["reconstruction"]
    expected = model({"images": images})["reconstruction"]
    np.testing.assert_allclose(results, np.clip(expected, 0, 1), atol=1e-5)


def test_mixed_precision_answers_in_float32():
    model = models.build(autoencoder_description(dtype="mixed_bfloat16"))
    prior = models.build(
        prior_description(
            "build_code_transformer", model, dtype="mixed_bfloat16"
        )
    )
    (bundle,) = serving.image_bundles(model, prior).values()
    request = sampling(2)
    results = bundle.signatures["sample"].python_function(
        request["seed"], request["temperature"]
    )
    assert results["images"].dtype == tf.float32
    assert results["code_ids"].dtype == tf.int32
    assert np.ptp(results["images"]) > 0


def test_rejects(autoencoder, prior, alone):
    def message(*arguments):
        with pytest.raises(ValueError) as error:
            serving.image_bundles(*arguments)
        return str(error.value)

    assert message(autoencoder, prior, ["ant"]) == (
        "`classes` must have a name for each class of the prior. "
        "Received: classes=1, prior=3."
    )
    assert message(alone[0], None, ["ant"]) == (
        "`classes` must have a name for each class of the prior. "
        "Received: classes=1, prior=None."
    )
    assert message(alone[0], prior) == (
        "`prior` must be of codes of the shapes that the autoencoder has. "
        "Received: prior={'top_code_ids': (2, 2), 'bottom_code_ids': (3, 3)}, "
        "autoencoder={'code_ids': (3, 3)}."
    )
    fewer = models.build(autoencoder_description(num_levels=2, num_codes=4))
    assert message(fewer, prior) == (
        "`prior` must be of codes of the numbers that the autoencoder has. "
        "Received: prior={'top_code_ids': 8, 'bottom_code_ids': 8}, "
        "autoencoder={'top_code_ids': 4, 'bottom_code_ids': 4}."
    )
    assert message(prior, prior) == (
        "`model` must come from `build_vq_vae`. Received: model='pixel_cnn'."
    )
    assert message(autoencoder, autoencoder) == (
        "`model` must come from `build_code_transformer` or "
        "`build_pixel_cnn`. Received: model='vq_vae'."
    )

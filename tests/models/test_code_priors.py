"""What the priors over codes have in common, and their likelihoods."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from tests.models import code_priors
from tests.models.code_priors import FAMILIES
from tests.models.code_priors import ONE_LEVEL
from tests.models.code_priors import make
from tests.models.code_priors import random_inputs
from tests.models.code_priors import what_changes


@pytest.fixture(params=FAMILIES)
def builder(request):
    return request.param


@pytest.fixture(scope="module")
def all_models():
    # In float64 no influence is too small to be seen.
    return {builder: make(builder, dtype="float64") for builder in FAMILIES}


@pytest.fixture
def model(builder, all_models):
    return all_models[builder]


def assert_close(actual, expected, **tolerances):
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(
            np.asarray(actual[name], "float64"), expected[name], **tolerances
        )


def test_names_of_inputs_and_outputs(builder):
    model = make(builder)
    assert {name: (x.shape, x.dtype) for name, x in model.input.items()} == {
        "top_code_ids": ((None, 2, 3), "int32"),
        "bottom_code_ids": ((None, 3, 5), "int32"),
        "class_ids": ((None,), "int32"),
    }
    assert {name: (x.shape, x.dtype) for name, x in model.output.items()} == {
        "top_code_logits": ((None, 2, 3, 5), "float32"),
        "bottom_code_logits": ((None, 3, 5, 4), "float32"),
    }
    model = make(builder, num_classes=None, **ONE_LEVEL)
    assert list(model.input) == ["code_ids"]
    assert list(model.output) == ["code_logits"]


def test_no_code_sees_itself_or_what_is_after_it(model):
    for name in ("top_code_ids", "bottom_code_ids"):
        sees = what_changes(model, name, of=name)
        assert not np.any(np.tril(sees))
        # Some of what comes later does change.
        assert np.all(np.any(sees[:-1], axis=1))
    assert not np.any(what_changes(model, "bottom_code_ids", of="top_code_ids"))


def test_every_code_of_the_bottom_sees_the_whole_top(model):
    assert np.all(what_changes(model, "top_code_ids", of="bottom_code_ids"))


def test_all_codes_see_the_class(model):
    inputs = random_inputs(model)
    first = model({**inputs, "class_ids": np.array([0, 1, 2])})
    second = model({**inputs, "class_ids": np.array([1, 2, 0])})
    for name in first:
        assert np.all(np.any(first[name] != second[name], axis=-1))


def test_eager_graph_and_compiled_agree(builder):
    model = make(builder)
    inputs = random_inputs(model)
    expected = model(inputs)
    for jit_compile in (False, True):
        function = tf.function(model, jit_compile=jit_compile)
        assert_close(function(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_wide_logits(builder, policy):
    model = make(builder)
    mixed = make(builder, dtype=policy)
    inputs = random_inputs(model)
    outputs = mixed(inputs)
    assert {x.dtype for x in outputs.values()} == {tf.float32}
    tolerance = 0.02 if policy == "mixed_float16" else 0.15
    assert_close(outputs, model(inputs), atol=tolerance)
    assert {w.dtype for w in mixed.trainable_weights} == {"float32"}


def test_seed_fixes_weights_and_dropout(builder):
    def outputs(seed):
        model = make(builder, seed=seed, dropout=0.5)
        outputs = model(random_inputs(model), training=True)
        return outputs["bottom_code_logits"]

    np.testing.assert_array_equal(outputs(1), outputs(1))
    assert not np.allclose(outputs(1), outputs(2))


def test_training_drops_and_inference_does_not(builder):
    model = make(builder, dropout=0.5)
    inputs = random_inputs(model)
    quiet = model(inputs)
    for name, logits in model(inputs, training=True).items():
        assert not np.allclose(logits, quiet[name])
    assert_close(model(inputs), quiet, atol=0)


def test_description_rebuilds_the_model_and_its_file(builder, tmp_path):
    arguments = {
        "code_shapes": code_priors.SHAPES,
        "num_codes": code_priors.NUM_CODES,
        **FAMILIES[builder],
    }
    # The order of names in a file means nothing.
    description = json.loads(
        json.dumps({"builder": builder, "arguments": arguments}, sort_keys=True)
    )
    model = models.build(description)
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = random_inputs(model)
    assert_close(revived(inputs), model(inputs), atol=0)
    other = models.build(description)
    other.set_weights(revived.get_weights())
    assert_close(other(inputs), model(inputs), atol=0)


def test_probabilities_of_all_images_sum_to_one(builder):
    shapes = {"top_code_ids": (1, 1), "bottom_code_ids": (2, 1)}
    numbers = {"top_code_ids": 3, "bottom_code_ids": 2}
    model = make(builder, code_shapes=shapes, num_codes=numbers)
    images = np.array(
        list(itertools.product(range(3), range(2), range(2))), "int32"
    )
    codes = {
        "top_code_ids": images[:, :1, None],
        "bottom_code_ids": images[:, 1:, None],
    }
    nll = models.code_nll(model, codes, np.full(12, 2, "int32"))
    assert nll.keys() == codes.keys()
    for name, values in nll.items():
        assert values.shape == codes[name].shape
        assert values.dtype == tf.float32
    total = sum(np.sum(values, axis=(1, 2)) for values in nll.values())
    np.testing.assert_allclose(np.sum(np.exp(-total)), 1.0, rtol=1e-5)
    # Uniform ones would do so too.
    assert np.ptp(total) > 0.1


def test_nll_is_that_of_the_codes_in_inference(builder):
    model = make(builder, num_classes=None, dropout=0.5, **ONE_LEVEL)
    codes = random_inputs(model)
    (nll,) = models.code_nll(model, codes).values()
    logits = np.asarray(model(codes)["code_logits"], "float64")
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(
        log_probs, codes["code_ids"][..., None], axis=-1
    )
    np.testing.assert_allclose(nll, -chosen[..., 0], atol=1e-5)


def test_learns_a_pattern(builder):
    # The class is the first code; each code is one more than the one before.
    model = make(builder, dropout=0.0)
    classes = np.arange(48) % 3
    top = classes[:, None] + np.arange(6)
    bottom = top[:, -1:] + np.arange(15)
    inputs = {
        "top_code_ids": (top % 5).reshape(-1, 2, 3).astype("int32"),
        "bottom_code_ids": (bottom % 4).reshape(-1, 3, 5).astype("int32"),
        "class_ids": classes.astype("int32"),
    }
    targets = {
        name.replace("_ids", "_logits"): codes
        for name, codes in inputs.items()
        if name != "class_ids"
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss=dict.fromkeys(targets, loss),
        jit_compile=False,
    )
    model.fit(inputs, targets, batch_size=12, epochs=15, verbose=0)
    codes = {name: x for name, x in inputs.items() if name != "class_ids"}
    for nll in models.code_nll(model, codes, inputs["class_ids"]).values():
        assert np.mean(nll) < 0.05
    sampled = models.code_sampler(model)(
        np.array([0, 1, 2]), seed=np.arange(6).reshape(3, 2), temperature=0.5
    )
    for name, codes in sampled.items():
        np.testing.assert_array_equal(codes, inputs[name][:3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"code_shapes": {"codes": (2, 3)}},
            "`code_shapes` must be of `code_ids`, or of `top_code_ids` and "
            "`bottom_code_ids`. Received: code_shapes={'codes': (2, 3)}.",
        ),
        (
            {"code_shapes": {"code_ids": (2, 3)}},
            "`num_codes` must be of the names that `code_shapes` has. "
            "Received: num_codes={'top_code_ids': 5, 'bottom_code_ids': 4}, "
            "code_shapes={'code_ids': (2, 3)}.",
        ),
        (
            {
                "code_shapes": {"code_ids": (2, 3, 1)},
                "num_codes": {"code_ids": 5},
            },
            "`code_shapes` must be pairs of height and width. "
            "Received: code_shapes={'code_ids': (2, 3, 1)}.",
        ),
        (
            {
                "code_shapes": {"code_ids": (0, 3)},
                "num_codes": {"code_ids": 5},
            },
            "`code_shapes` must be positive. Received: code_shapes=0.",
        ),
        (
            {
                "code_shapes": {"code_ids": (2, 3)},
                "num_codes": {"code_ids": 0},
            },
            "`num_codes` must be positive. Received: num_codes=0.",
        ),
        (
            {"num_classes": 0},
            "`num_classes` must be positive. Received: num_classes=0.",
        ),
        (
            {"num_layers": 0},
            "`num_layers` must be positive. Received: num_layers=0.",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
    ],
)
def test_rejects(builder, arguments, message):
    with pytest.raises(ValueError) as error:
        make(builder, **arguments)
    assert str(error.value) == message


def test_a_model_of_another_builder_is_refused():
    inputs = keras.Input((2, 3), name="images")
    other = keras.Model({"images": inputs}, {"same": inputs}, name="other")
    for function in (
        lambda: models.code_nll(other, {"code_ids": np.zeros((1, 2, 3))}),
        lambda: models.code_sampler(other),
    ):
        with pytest.raises(ValueError) as error:
            function()
        assert str(error.value) == (
            "`model` must come from `build_code_transformer` or "
            "`build_pixel_cnn`. Received: model='other'."
        )


def test_codes_and_classes_that_are_missing_are_told(model):
    codes = random_inputs(model)
    class_ids = codes.pop("class_ids")
    with pytest.raises(ValueError) as error:
        models.code_nll(model, codes)
    assert str(error.value) == (
        "`class_ids` must be given if the model has classes, and only then. "
        "Received: class_ids=None."
    )
    del codes["top_code_ids"]
    with pytest.raises(ValueError) as error:
        models.code_nll(model, codes, class_ids)
    assert str(error.value) == (
        "`codes` must be of all names that the model takes. "
        "Received: codes=['bottom_code_ids'], "
        "model=['top_code_ids', 'bottom_code_ids']."
    )


@pytest.mark.parametrize("wrong", [-1, 4, 5])
def test_predictions_of_codes_of_others_fail(builder, wrong):
    model = make(builder)
    inputs = {
        name: np.zeros((2, *tensor.shape[1:]), "int32")
        for name, tensor in model.input.items()
    }
    inputs["bottom_code_ids"][1, 0, 0] = wrong
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.predict(inputs, verbose=0)

"""Tests of keras_xf.models.vq_vae."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.losses import NormalizedMeanSquaredError
from keras_xf.metrics import NormalizedMeanSquaredError as ErrorMetric

SIZES = {
    "image_shape": [9, 6, 3],
    "num_codes": 16,
    "code_dim": 8,
    "hidden_dim": 12,
    "residual_dim": 4,
    "num_residual_blocks": 1,
    "seed": 1,
}
# Codes as near to each other as the vectors of an untrained encoder.
NEAR = {
    "codebook_initializer": {
        "class_name": "RandomNormal",
        "config": {"stddev": 0.05},
    }
}
BOTTLENECKS = {
    "vq_ema": {"restart": {"fraction": 0.1, "every": 2}, **NEAR},
    "vq": {"commitment": 0.5, **NEAR},
    "dvq": {"num_parts": 2, "projected": True, **NEAR},
    "gumbel_softmax": {"divergence": 0.1},
    "semantic_hashing": {"noise_stddev": 0.5},
}
NAMES = {1: ["code_ids"], 2: ["top_code_ids", "bottom_code_ids"]}


def build(**arguments):
    return models.build_vq_vae(**{**SIZES, **arguments})


def build_with(bottleneck, **arguments):
    return build(
        bottleneck=bottleneck,
        bottleneck_options=BOTTLENECKS[bottleneck],
        **arguments,
    )


def images_of(model, number=4, seed=0):
    shape = (number, *model.inputs[0].shape[1:])
    images = np.random.default_rng(seed).random(shape, "float32")
    return {"images": images}


def state_of(model):
    state = {v.path: np.asarray(v) for v in model.variables}
    assert len(state) == len(model.variables)
    return state


def assert_same(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def step(model, images, function=None):
    """The loss of a batch."""
    function = function or model.train_on_batch
    target = {"reconstruction": images["images"]}
    return function(images, target, return_dict=True)["loss"]


@pytest.mark.parametrize("num_levels", [1, 2])
@pytest.mark.parametrize("bottleneck", sorted(BOTTLENECKS))
def test_halves_are_the_model_and_change_nothing(bottleneck, num_levels):
    model = build_with(bottleneck, num_levels=num_levels)
    images = images_of(model)
    # Codes that training has moved, if it is not the optimizer that does.
    model(images, training=True)
    before = state_of(model)
    encoder, decoder = (
        models.vq_vae_encoder(model),
        models.vq_vae_decoder(model),
    )
    expected = model(images, training=False)
    codes = encoder(images)
    assert_same(decoder(codes), expected)
    # Neither half knows of training.
    assert_same(encoder(images, training=True), codes)
    assert_same(decoder(codes, training=True), expected)
    predicted = model.predict(images, verbose=0)["reconstruction"]
    np.testing.assert_allclose(predicted, expected["reconstruction"], atol=1e-5)
    assert_same(state_of(model), before)
    shapes, numbers = models.code_shapes(model), models.num_codes(model)
    assert list(codes) == list(shapes) == list(numbers) == NAMES[num_levels]
    for name, code_ids in codes.items():
        assert code_ids.dtype == "int32"
        assert code_ids.shape == (4, *shapes[name])
        assert numbers[name] == 16
        assert 0 <= np.min(code_ids) <= np.max(code_ids) < 16
    assert len(np.unique(codes[NAMES[num_levels][-1]])) > 1


@pytest.mark.parametrize(
    ("size", "num_halvings", "bottom", "top"),
    [
        ((32, 32), 2, (8, 8), (4, 4)),
        ((28, 28), 2, (7, 7), (4, 4)),
        ((8, 8), 1, (4, 4), (2, 2)),
        ((17, 30), 3, (3, 4), (2, 2)),
        ((1, 3), 1, (1, 2), (1, 1)),
    ],
)
def test_any_size_comes_back(size, num_halvings, bottom, top):
    for num_levels, expected in ((1, [bottom]), (2, [top, bottom])):
        model = build(
            image_shape=[*size, 2],
            num_halvings=num_halvings,
            num_levels=num_levels,
        )
        found = model(images_of(model))["reconstruction"]
        assert found.shape == (4, *size, 2)
        assert list(models.code_shapes(model).values()) == expected


def convolution(size, inputs, outputs):
    return size**2 * inputs * outputs + outputs


def blocks(number, hidden, residual):
    inner = convolution(3, hidden, residual)
    return number * (inner + convolution(1, residual, hidden))


def test_parameters_of_sonnets_example():
    model = models.build_vq_vae(**models.vq_vae_preset("sonnet"))
    encoder = (
        convolution(4, 3, 64)
        + convolution(4, 64, 128)
        + convolution(3, 128, 128)
        + blocks(2, 128, 32)
        + convolution(1, 128, 64)
    )
    decoder = (
        convolution(3, 64, 128)
        + blocks(2, 128, 32)
        + convolution(4, 128, 64)
        + convolution(4, 64, 3)
    )
    assert model.get_layer("encoder").count_params() == encoder
    assert model.get_layer("decoder").count_params() == decoder
    # The codes, their sums, their counts, and the steps.
    codes = 2 * 512 * 64 + 512 + 1
    assert model.count_params() == encoder + decoder + codes
    assert models.code_shapes(model) == {"code_ids": (8, 8)}
    assert models.num_codes(model) == {"code_ids": 512}


def test_parameters_of_the_papers_model():
    model = models.build_vq_vae(**models.vq_vae_preset("cifar10"))
    strided = convolution(4, 3, 256) + convolution(4, 256, 256)
    encoder = strided + blocks(2, 256, 256) + convolution(1, 256, 640)
    strided = convolution(4, 256, 256) + convolution(4, 256, 3)
    decoder = convolution(1, 640, 256) + blocks(2, 256, 256) + strided
    assert model.get_layer("encoder").count_params() == encoder
    assert model.get_layer("decoder").count_params() == decoder
    # 640 codes of 512, which the paper has for an image.
    assert models.code_shapes(model) == {"code_ids": (8, 80)}


def test_parameters_of_two_levels():
    model = models.build_vq_vae(**models.vq_vae_preset("vq_vae_2"))
    stack = blocks(2, 128, 32)
    expected = {
        "bottom_encoder": convolution(4, 3, 64)
        + convolution(4, 64, 128)
        + convolution(3, 128, 128)
        + stack,
        "top_encoder": convolution(4, 128, 64)
        + convolution(3, 64, 128)
        + stack
        + convolution(1, 128, 64),
        "bottom_vectors": convolution(3, 64, 128)
        + stack
        + convolution(4, 128, 64)
        + convolution(1, 64 + 128, 64),
        "decoder": convolution(4, 64, 64)
        + convolution(3, 128, 128)
        + stack
        + convolution(4, 128, 64)
        + convolution(4, 64, 3),
    }
    found = {name: model.get_layer(name).count_params() for name in expected}
    assert found == expected
    shapes = {"top_code_ids": (32, 32), "bottom_code_ids": (64, 64)}
    assert models.code_shapes(model) == shapes


def test_presets_are_copies():
    models.vq_vae_preset("sonnet")["bottleneck_options"]["decay"] = 0.5
    options = models.vq_vae_preset("sonnet")["bottleneck_options"]
    assert options == {"decay": 0.99, "ema_init": "zero_debias"}
    with pytest.raises(ValueError, match="`name` must be one of"):
        models.vq_vae_preset("vq_vae_3")


def test_bottom_codes_are_made_from_the_decoded_top():
    model = build(num_levels=2, num_codes=64)
    images = images_of(model)
    encoder = models.vq_vae_encoder(model)
    before = encoder(images)
    layer = model.get_layer("top_codes")
    # Other vectors for the same numbers.
    layer.set_codebook(-10 * layer.codebook)
    after = encoder(images)
    assert np.any(before["bottom_code_ids"] != after["bottom_code_ids"])


@pytest.mark.parametrize("changed", NAMES[2])
def test_both_levels_are_decoded(changed):
    model = build(num_levels=2)
    decoder = models.vq_vae_decoder(model)
    codes = {
        name: np.zeros((1, *shape), "int32")
        for name, shape in models.code_shapes(model).items()
    }
    before = decoder(codes)["reconstruction"]
    codes[changed] = codes[changed] + 1
    assert np.any(decoder(codes)["reconstruction"] != before)


def test_several_codes_a_place_lie_side_by_side():
    model = build(codes_per_place=3)
    assert models.code_shapes(model) == {"code_ids": (3, 6)}
    images = images_of(model)
    codes = models.vq_vae_encoder(model)(images)["code_ids"]
    flat = model.get_layer("encoder").get_layer("encoder_vectors")
    encoder = keras.Model(model.get_layer("encoder").input, flat.output)
    vectors = np.asarray(encoder(images["images"])).reshape(4, 3, 2, 3, 8)
    nearest = model.get_layer("codes").encode(vectors)
    np.testing.assert_array_equal(np.reshape(nearest, (4, 3, 6)), codes)


@pytest.mark.parametrize(
    ("bottleneck", "options"),
    [
        ("vq_ema", {}),
        ("vq", {}),
        ("dvq", {}),
        ("gumbel_softmax", {"divergence": 0.1, "hard": True}),
        ("semantic_hashing", {}),
    ],
)
def test_fit_moves_every_weight_and_learns(bottleneck, options):
    model = build(
        bottleneck=bottleneck,
        bottleneck_options=options,
        num_levels=2 if bottleneck == "vq_ema" else 1,
        image_shape=[8, 8, 1],
        num_halvings=1,
        hidden_dim=24,
    )
    images = images_of(model, 4)
    images["images"] = np.kron(
        images["images"][:, ::4, ::4, 0].round(), np.ones((4, 4))
    )[..., None].astype("float32")
    variance = images["images"].var()
    before = {v.path: np.asarray(v) for v in model.trainable_variables}
    model.compile(
        keras.optimizers.Adam(1e-2),
        {"reconstruction": NormalizedMeanSquaredError(variance)},
        metrics={"reconstruction": ["mse", ErrorMetric(variance)]},
        jit_compile=False,
    )
    history = model.fit(
        images,
        {"reconstruction": images["images"]},
        epochs=40,
        batch_size=4,
        verbose=0,
    ).history
    still = [
        v.path
        for v in model.trainable_variables
        if np.array_equal(before[v.path], v)
    ]
    assert not still
    prefix = "normalized_mean_squared_error"
    if f"reconstruction_{prefix}" in history:
        prefix = f"reconstruction_{prefix}"
    assert min(history[prefix]) < 0.5 * history[prefix][0]
    # The loss is that of the reconstruction and of both bottlenecks.
    adds_loss = bottleneck != "semantic_hashing"
    assert (history["loss"][0] > history[prefix][0] + 1e-4) == adds_loss


def test_saved_models_go_on_as_if_unbroken(tmp_path):
    def train(model, seed):
        images = images_of(model, 8, seed)
        model.fit(
            images,
            {"reconstruction": images["images"]},
            batch_size=4,
            shuffle=False,
            verbose=0,
        )

    model = build_with("vq_ema", num_levels=2)
    model.compile(
        "adam",
        {"reconstruction": NormalizedMeanSquaredError(0.1)},
        jit_compile=False,
    )
    train(model, 0)
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = images_of(model)
    assert_same(revived(images), model(images))
    assert_same(
        models.vq_vae_encoder(revived)(images),
        models.vq_vae_encoder(model)(images),
    )
    train(model, 1)
    train(revived, 1)
    for actual, expected in zip(
        revived.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


def test_halves_are_saved_and_exported_alone(tmp_path):
    model = build_with("dvq", num_levels=2)
    images = images_of(model)
    for half in (models.vq_vae_encoder(model), models.vq_vae_decoder(model)):
        expected = half(images)
        half.save(tmp_path / "half.keras")
        revived = keras.saving.load_model(tmp_path / "half.keras")
        assert_same(revived(images), expected)
        half.export(tmp_path / half.name, verbose=False)
        served = tf.saved_model.load(tmp_path / half.name)
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
            served.serve(images),
            expected,
        )
        images = expected


@pytest.mark.parametrize("bottleneck", sorted(BOTTLENECKS))
def test_seeds_and_descriptions_repeat_a_model(bottleneck):
    arguments = {
        **SIZES,
        "num_levels": 2,
        "bottleneck": bottleneck,
        "bottleneck_options": BOTTLENECKS[bottleneck],
    }
    description = {"builder": "build_vq_vae", "arguments": arguments}
    model = models.build(json.loads(json.dumps(description)))
    again = models.build_vq_vae(**arguments)
    for values, same in zip(
        model.get_weights(), again.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(values, same)
    other = models.build_vq_vae(**{**arguments, "seed": 2})
    kernels = {}
    for mine, others in zip(model.variables, other.variables, strict=True):
        values = np.asarray(mine)
        if np.ptp(values) and "seed" not in mine.path:
            assert np.any(values != np.asarray(others)), mine.path
            if mine.name != "sums":  # Those of one hit of each code.
                kernels.setdefault(values.shape, []).append(values)
    # No two of one model begin alike.
    for same_shape in kernels.values():
        flat = [tuple(values.ravel()) for values in same_shape]
        assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("bottleneck", ["vq_ema", "semantic_hashing"])
def test_compiled_is_the_same(bottleneck):
    model = build_with(bottleneck)
    images = images_of(model)
    encoder, decoder = (
        models.vq_vae_encoder(model),
        models.vq_vae_decoder(model),
    )
    codes = tf.function(encoder, jit_compile=True)(images)
    assert_same(codes, encoder(images))
    found = tf.function(decoder, jit_compile=True)(codes)["reconstruction"]
    expected = model(images)["reconstruction"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    weights = model.get_weights()
    losses = []
    for jit_compile in (False, True):
        model.set_weights(weights)
        # A gradient step alone: Adam makes a whole step of rounding.
        model.compile("sgd", "mse", jit_compile=jit_compile)
        if bottleneck == "vq_ema":  # Draws nothing but for restarts.
            losses.append(step(model, images))
            losses.append(step(model, images, model.test_on_batch))
        else:
            assert np.isfinite(step(model, images))
    np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-4)


@pytest.mark.parametrize(
    ("policy", "bottleneck"),
    [
        *(("mixed_float16", bottleneck) for bottleneck in BOTTLENECKS),
        ("mixed_bfloat16", "vq_ema"),
    ],
)
def test_mixed_precision(policy, bottleneck):
    model = build_with(bottleneck, dtype=policy)
    images = images_of(model)
    found = model(images)["reconstruction"]
    assert found.dtype == "float32"
    codes = models.vq_vae_encoder(model)(images)
    decoded = models.vq_vae_decoder(model)(codes)["reconstruction"]
    np.testing.assert_array_equal(decoded, found)
    model.compile("adam", "mse", run_eagerly=True)
    for _ in range(2):
        assert np.isfinite(step(model, images))
    for variable in model.weights:
        assert variable.dtype in ("float32", "int32"), variable.path
        assert np.all(np.isfinite(variable)), variable.path
    assert model.get_layer("encoder").get_layer(
        "encoder_middle"
    ).compute_dtype == (policy.removeprefix("mixed_"))


def test_float64_stays_float64():
    model = build(dtype="float64")
    assert model(images_of(model))["reconstruction"].dtype == "float64"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"image_shape": [8, 8]},
            "`image_shape` must be height, width and channels. Received: "
            "image_shape=(8, 8).",
        ),
        (
            {"image_shape": [8, 0, 1]},
            "`image_shape` must be positive. Received: image_shape=0.",
        ),
        (
            {"num_levels": 3},
            "`num_levels` must be 1 or 2. Received: num_levels=3.",
        ),
        (
            {"num_halvings": 0},
            "`num_halvings` must be positive. Received: num_halvings=0.",
        ),
        (
            {"num_levels": 2, "codes_per_place": 2},
            "`codes_per_place` must be 1 with two levels. Received: "
            "codes_per_place=2.",
        ),
        (
            {"bottleneck": "pq"},
            "`bottleneck` must be one of ('vq_ema', 'vq', 'dvq', "
            "'gumbel_softmax', 'semantic_hashing'). Received: "
            "bottleneck='pq'.",
        ),
        (
            {"bottleneck": "vq", "bottleneck_options": {"decay": 0.9}},
            "`bottleneck_options` of vq must be of ('commitment', "
            "'commitment_reduction', 'first_batch', 'codebook_initializer', "
            "'masked_outputs', 'freeze'). Received: "
            "bottleneck_options=['decay'].",
        ),
        (
            {"bottleneck_options": {"restart": {"often": 3}}},
            "`restart` must have options of ('fraction', 'threshold', "
            "'every', 'warmup'). Received: restart={'often': 3}.",
        ),
        (
            {"bottleneck": "semantic_hashing", "num_codes": 12},
            "`num_codes` must be a power of 2 for semantic_hashing, from 2 to "
            "2**30. Received: num_codes=12.",
        ),
        (
            {"bottleneck": "dvq", "num_codes": 12},
            "`num_codes` must be the codes of a part to the power of "
            "`num_parts`, and 2**30 at most. Received: num_codes=12, "
            "num_parts=2.",
        ),
        (
            {"bottleneck": "dvq", "bottleneck_options": {"num_parts": 3}},
            "`num_parts` must divide `code_dim`. Received: num_parts=3, "
            "code_dim=8.",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as error:
        build(**arguments)
    assert str(error.value) == message


def test_other_models_are_refused():
    inputs = keras.Input((3,))
    other = keras.Model(inputs, inputs, name="other")
    for function in (
        models.vq_vae_encoder,
        models.vq_vae_decoder,
        models.code_shapes,
        models.num_codes,
    ):
        with pytest.raises(ValueError) as error:
            function(other)
        assert str(error.value) == (
            "`model` must come from `build_vq_vae`. Received: model='other'."
        )


def test_codes_out_of_range_are_refused():
    model = build_with("dvq")
    decoder = models.vq_vae_decoder(model)
    code_ids = np.full((1, *models.code_shapes(model)["code_ids"]), 16)
    with pytest.raises(ValueError, match=r"`indices` must lie in \[0, 16\)"):
        decoder({"code_ids": code_ids})


@pytest.mark.parametrize("num_levels", [1, 2])
def test_halves_keep_the_policy_of_the_model(num_levels):
    model = build(num_levels=num_levels, dtype="float32")
    images = images_of(model)
    expected = models.vq_vae_encoder(model)(images)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        codes = models.vq_vae_encoder(model)(images)
        decoder = models.vq_vae_decoder(model)
    finally:
        keras.config.set_dtype_policy(before)
    for name in expected:
        np.testing.assert_array_equal(codes[name], expected[name])
    np.testing.assert_allclose(
        decoder(codes)["reconstruction"],
        model(images)["reconstruction"],
        atol=1e-6,
    )


@pytest.mark.parametrize("num_levels", [1, 2])
def test_float64_is_float64_from_end_to_end(num_levels):
    model = build(num_levels=num_levels, dtype="float64")
    assert model.inputs[0].dtype == "float64"
    assert models.vq_vae_encoder(model).inputs[0].dtype == "float64"
    for part in model.layers:
        # Codes hide what is so near.
        if not isinstance(part, keras.Model):
            continue
        outputs = []
        for change in (0, 1e-10):
            inputs = [0.5 + np.zeros((2, *x.shape[1:])) for x in part.inputs]
            inputs = [x + change * np.arange(x.shape[-1]) for x in inputs]
            inputs = keras.tree.pack_sequence_as(part.input, inputs)
            outputs.append(np.asarray(part(inputs)))
        assert outputs[0].dtype == "float64"
        assert 0 < np.max(np.abs(outputs[1] - outputs[0])) < 1e-6


@pytest.mark.parametrize("bottleneck", ["dvq", "semantic_hashing"])
def test_servers_can_count_the_codes(bottleneck):
    with pytest.raises(ValueError, match=r"2\*\*30"):
        build(
            bottleneck=bottleneck,
            num_codes=2**31,
            code_dim=31,
            bottleneck_options={"num_parts": 31}
            if bottleneck == "dvq"
            else None,
        )

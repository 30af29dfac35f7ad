"""Tests of the encoder-decoder builders, and of what they have in common."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import decoding
from keras_xf import models
from keras_xf.losses import SmoothedCrossEntropy

SIZES = {
    "vocabulary_size": 17,
    "num_layers": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "seed": 1,
}
BUILDERS = {
    "transformer": ("build_sequence_to_sequence", {"num_heads": 2}),
    "learned": (
        "build_sequence_to_sequence",
        {"num_heads": 4, "positions": "learned", "max_length": 24},
    ),
    "rotary": (
        "build_sequence_to_sequence",
        {
            "num_heads": 2,
            "positions": "rotary",
            "source_vocabulary_size": 13,
            "num_decoder_layers": 1,
            "norm_first": False,
            "tied": False,
        },
    ),
    "weighted": ("build_weighted_transformer", {"num_branches": 2}),
    "weighted, of the decoder's own": (
        "build_weighted_transformer",
        {"num_branches": 4, "branched": "self", "norm_first": False},
    ),
    "weighted, of both": (
        "build_weighted_transformer",
        {
            "num_branches": 2,
            "branched": "both",
            "positions": "learned",
            "max_length": 24,
            "branch_scale": "unit",
            "branch_initializer": "random",
        },
    ),
}


def build(name, **options):
    builder, arguments = BUILDERS[name]
    return models.build(
        {"builder": builder, "arguments": {**SIZES, **arguments, **options}}
    )


@pytest.fixture(params=BUILDERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    return {
        "source_ids": generator.integers(5, 13, (3, 7), dtype="int32"),
        "source_length": np.array([7, 2, 5], "int32"),
        "target_ids": generator.integers(5, 13, (3, 9), dtype="int32"),
        "target_length": np.array([9, 9, 9], "int32"),
    }


def test_steps_equal_the_whole(name, batch):
    model = build(name)
    expected = np.asarray(model(batch)["logits"])
    builder, arguments = BUILDERS[name]
    twin = models.build_step({"builder": builder, "arguments": {}}, model)
    assert twin.vocabulary_size == 17
    assert twin.max_length == arguments.get("max_length")
    state = twin.initial_state(batch["source_ids"], batch["source_length"], 10)
    step = tf.function(twin, reduce_retracing=True)
    logits, state = step(batch["target_ids"][:, :4], state)
    np.testing.assert_allclose(logits, expected[:, :4], atol=1e-5)
    for place in range(4, 9):
        new = batch["target_ids"][:, place : place + 1]
        logits, state = step(new, state)
        np.testing.assert_allclose(logits[:, 0], expected[:, place], atol=1e-5)


def test_padding_of_both_sides_changes_nothing(name, batch):
    model = build(name)
    lengths = np.array([9, 3, 6], "int32")
    together = model({**batch, "target_length": lengths})["logits"]
    for row, (source, target) in enumerate(
        zip(batch["source_length"], lengths, strict=True)
    ):
        alone = model(
            {
                "source_ids": batch["source_ids"][row : row + 1, :source],
                "source_length": np.array([source]),
                "target_ids": batch["target_ids"][row : row + 1, :target],
                "target_length": np.array([target]),
            }
        )["logits"]
        np.testing.assert_allclose(together[row, :target], alone[0], atol=1e-5)


def test_logits_know_the_source_and_not_the_future(name, batch):
    model = build(name)
    first = np.asarray(model(batch)["logits"])
    changed = batch["target_ids"].copy()
    changed[:, 5:] = 18 - changed[:, 5:]
    second = np.asarray(model({**batch, "target_ids": changed})["logits"])
    np.testing.assert_array_equal(first[:, :5], second[:, :5])
    other = batch["source_ids"].copy()
    other[:, 0] = 17 - other[:, 0]
    third = np.asarray(model({**batch, "source_ids": other})["logits"])
    assert np.abs(first - third).max(-1).min() > 0


def test_an_empty_source_is_no_error(name, batch):
    logits = build(name)({**batch, "source_length": np.zeros(3, "int32")})
    assert np.isfinite(logits["logits"]).all()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_learns_to_copy(jit_compile, batch):
    for name in ("transformer", "weighted"):
        model = build(
            name, num_layers=1, dropout=0.0, hidden_dim=32, tied=False
        )
        model.compile(
            keras.optimizers.Adam(0.01),
            {"logits": SmoothedCrossEntropy(0.1)},
            jit_compile=jit_compile,
        )
        generator = np.random.default_rng(1)
        source = generator.integers(5, 9, (64, 3), dtype="int32")
        inputs = {
            "source_ids": source,
            "source_length": np.full(64, 3, "int32"),
            "target_ids": np.pad(source, ((0, 0), (1, 0)), constant_values=2),
            "target_length": np.full(64, 4, "int32"),
        }
        targets = np.pad(source, ((0, 0), (0, 1)), constant_values=3)
        model.fit(inputs, {"logits": targets}, epochs=60, verbose=0)
        twin = models.build_step({"builder": BUILDERS[name][0]}, model)
        state = twin.initial_state(source, inputs["source_length"], 5)
        written = decoding.beam_search(
            twin,
            state,
            np.full((64, 1), 2),
            np.ones(64, "int32"),
            max_new_tokens=5,
        )
        right = (written["token_ids"][:, 0, :3] == source).numpy().all(-1)
        assert right.mean() > 0.9
        assert (written["length"][:, 0].numpy()[right] == 3).all()


@pytest.mark.parametrize("num_beams", [1, 3])
def test_beams_of_a_cached_twin_equal_those_of_the_whole_model(
    name, num_beams, batch
):
    model = build(name)
    twin = models.build_step({"builder": BUILDERS[name][0]}, model)
    options = {
        "max_new_tokens": 5,
        "num_beams": num_beams,
        "num_hypotheses": num_beams,
    }
    source = batch["source_ids"], batch["source_length"]
    prompts = np.full((3, 1), 2, "int32"), np.ones(3, "int32")
    cached = decoding.beam_search(
        twin, twin.initial_state(*source, 6), *prompts, **options
    )

    def slow_step(token_ids, state, length=None):
        number = tf.shape(token_ids)[1]
        places = state["seen"][0] + tf.range(number)
        written = tf.transpose(
            tf.tensor_scatter_nd_update(
                tf.transpose(state["ids"]),
                places[:, None],
                tf.transpose(token_ids),
            )
        )
        outputs = model(
            {
                "source_ids": state["source"]["ids"],
                "source_length": state["source"]["length"],
                "target_ids": written,
                "target_length": tf.fill([tf.shape(written)[0]], 6),
            }
        )
        logits = tf.gather(outputs["logits"], places, axis=1)
        return logits, {
            **state,
            "ids": written,
            "seen": state["seen"] + number,
        }

    state = {
        "source": {"ids": source[0], "length": source[1]},
        "ids": np.zeros((3, 6), "int32"),
        "seen": np.zeros(3, "int32"),
    }
    slow = decoding.beam_search(slow_step, state, *prompts, **options)
    np.testing.assert_array_equal(cached["token_ids"], slow["token_ids"])
    np.testing.assert_allclose(cached["score"], slow["score"], atol=1e-5)


def test_saved_models_load(name, batch, tmp_path):
    model = build(name)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(
        model(batch)["logits"], again(batch)["logits"]
    )
    builder, arguments = BUILDERS[name]
    rebuilt = models.build(
        json.loads(
            json.dumps(
                {"builder": builder, "arguments": {**SIZES, **arguments}}
            )
        )
    )
    np.testing.assert_array_equal(
        model(batch)["logits"], rebuilt(batch)["logits"]
    )


def test_all_matrices_start_from_different_draws(name):
    model = build(name)
    starts = {}
    for weight in model.trainable_weights:
        values = np.asarray(weight).ravel()
        if values.std() > 0 and weight.name not in ("kappa", "alpha"):
            # Alike but for a scale, as draws of one seed are.
            start = tuple(np.round(values[:6] / np.abs(values[:6]).max(), 4))
            assert start not in starts, (weight.path, starts[start])
            starts[start] = weight.path


def test_names_of_inputs_and_outputs(name):
    model = build(name)
    inputs = {key: (x.name, x.shape) for key, x in model.input.items()}
    assert inputs == {
        "source_ids": ("source_ids", (None, None)),
        "source_length": ("source_length", (None,)),
        "target_ids": ("target_ids", (None, None)),
        "target_length": ("target_length", (None,)),
    }
    assert {key: x.shape for key, x in model.output.items()} == {
        "logits": (None, None, 17)
    }


def test_parameters_are_those_of_the_paper():
    model = models.build_sequence_to_sequence(vocabulary_size=1000)
    attention = 4 * (512 * 512 + 512)
    feed_forward = 2 * 512 * 2048 + 2048 + 512
    norm = 2 * 512
    encoder = 6 * (attention + feed_forward + 2 * norm) + norm
    decoder = 6 * (2 * attention + feed_forward + 3 * norm) + norm
    assert model.count_params() == encoder + decoder + 1000 * 512


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_close(name, dtype, batch):
    single = build(name)(batch)["logits"]
    half = build(name, dtype=dtype)(batch)["logits"]
    assert half.dtype == "float32"
    np.testing.assert_allclose(half, single, atol=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_layers": 0},
            "`num_layers` and `num_decoder_layers` must be positive. "
            "Received: num_layers=0, num_decoder_layers=0.",
        ),
        (
            {"num_heads": 3},
            "`hidden_dim` must be positive and divisible by `num_heads`. "
            "Received: hidden_dim=16, num_heads=3.",
        ),
        (
            {"positions": "learned"},
            "`max_length` must be given if `positions` are learned, and only "
            "then. Received: max_length=None, positions='learned'.",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.build_sequence_to_sequence(**{**SIZES, **arguments})
    assert str(error.value) == message
    other = models.build_language_model(**SIZES, num_heads=2)
    with pytest.raises(ValueError, match="must be an encoder-decoder"):
        models.build_sequence_to_sequence_step(other)

"""Tests of keras_xf.models.transformer."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models

SIZES = {
    "vocabulary_size": 13,
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 32,
    "seed": 1,
}
VARIANTS = [
    {},
    {"positions": "learned", "max_length": 24},
    {"positions": "rotary", "activation": "gelu"},
    {"norm_first": False, "tied": False},
]


@pytest.fixture
def token_ids():
    generator = np.random.default_rng(0)
    return generator.integers(0, 13, (3, 20), dtype="int32")


def logits_of(model, token_ids, length=None):
    if length is None:
        length = [token_ids.shape[1]] * len(token_ids)
    length = np.array(length, "int32")
    return model({"token_ids": token_ids, "length": length})["logits"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_steps_equal_the_full_pass(token_ids, variant):
    model = models.build_language_model(**{**SIZES, **variant})
    expected = np.asarray(logits_of(model, token_ids))
    step_model = models.build_language_model_step(model)
    state = step_model.initial_state(batch_size=3, max_length=24)
    seen = np.array([7, 1, 4])
    prompt = np.where(np.arange(7) < seen[:, None], token_ids[:, :7], 0)
    logits, state = step_model(prompt, state, length=seen)
    for row, length in enumerate(seen):
        np.testing.assert_allclose(
            logits[row, :length], expected[row, :length], atol=1e-5
        )
    step = tf.function(step_model, reduce_retracing=True)
    for _ in range(13):
        new = token_ids[np.arange(3), seen][:, None]
        logits, state = step(new, state)
        np.testing.assert_allclose(
            logits[:, 0], expected[np.arange(3), seen], atol=1e-5
        )
        seen += 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_changes_neither_logits_nor_loss(token_ids, variant):
    model = models.build_language_model(**{**SIZES, **variant, "dropout": 0.0})
    lengths = [20, 5, 11]
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    weights = (np.arange(20) < np.array(lengths)[:, None]).astype("float32")
    total = 0.0
    together = logits_of(model, token_ids, lengths)
    for row, length in enumerate(lengths):
        alone = logits_of(model, token_ids[row : row + 1, :length])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)
        targets = token_ids[row : row + 1, :length]
        total += length * loss(targets, alone)
    padded = loss(token_ids, together, sample_weight=weights)
    np.testing.assert_allclose(padded, total / sum(lengths), rtol=1e-5)


def test_logits_do_not_know_the_future(token_ids):
    model = models.build_language_model(**SIZES)
    changed = token_ids.copy()
    changed[:, 10:] = (changed[:, 10:] + 1) % 13
    first, second = logits_of(model, token_ids), logits_of(model, changed)
    np.testing.assert_array_equal(first[:, :10], second[:, :10])
    assert np.all(np.any(first[:, 10:] != second[:, 10:], axis=-1))


def test_parameters_are_those_of_the_paper():
    model = models.build_language_model(vocabulary_size=1000)
    attention = 4 * (512 * 512 + 512)
    feed_forward = 2 * 512 * 2048 + 2048 + 512
    norms = 2 * 2 * 512
    expected = 6 * (attention + feed_forward + norms) + 1000 * 512 + 2 * 512
    assert model.count_params() == expected


def test_names_of_inputs_and_outputs():
    model = models.build_language_model(**SIZES)
    inputs = {key: (x.name, x.shape) for key, x in model.input.items()}
    assert inputs == {
        "token_ids": ("token_ids", (None, None)),
        "length": ("length", (None,)),
    }
    assert {key: x.shape for key, x in model.output.items()} == {
        "logits": (None, None, 13)
    }


def test_seed_fixes_weights_and_dropout(token_ids):
    length = np.full(3, 20, "int32")

    def outputs(seed):
        model = models.build_language_model(**{**SIZES, "seed": seed})
        inputs = {"token_ids": token_ids, "length": length}
        return model(inputs, training=True)["logits"]

    np.testing.assert_array_equal(outputs(1), outputs(1))
    assert not np.allclose(outputs(1), outputs(2))


@pytest.mark.parametrize("seed", [0, 1, None])
@pytest.mark.parametrize("variant", VARIANTS)
def test_all_matrices_start_from_different_draws(seed, variant):
    model = models.build_language_model(
        **{**SIZES, **variant, "seed": seed, "tied": False}
    )
    matrices = [w.numpy() for w in model.trainable_weights if w.ndim == 2]
    assert len(matrices) == 2 + ("max_length" in variant) + 2 * 4
    # Of any two: other shapes may begin with the same numbers, scaled.
    starts = [matrix.ravel()[:200] for matrix in matrices]
    correlation = np.corrcoef(starts) - np.eye(len(starts))
    assert np.max(np.abs(correlation)) < 0.4


def test_description_rebuilds_the_model_and_its_twin(token_ids, tmp_path):
    description = json.loads(
        json.dumps({"builder": "build_language_model", "arguments": SIZES})
    )
    model = models.build(description)
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        logits_of(revived, token_ids), logits_of(model, token_ids)
    )
    step_model = models.build_step(description, revived)
    state = step_model.initial_state(batch_size=3, max_length=20)
    logits, _ = step_model(token_ids, state)
    np.testing.assert_allclose(logits, logits_of(model, token_ids), atol=1e-5)


def test_logits_are_float32_under_mixed_precision(token_ids):
    model = models.build_language_model(**SIZES, dtype="mixed_bfloat16")
    logits = logits_of(model, token_ids)
    assert logits.dtype == "float32"
    step_model = models.build_language_model_step(model)
    state = step_model.initial_state(batch_size=3, max_length=20)
    assert state["attention_0"]["key"].dtype == "bfloat16"
    steps, _ = step_model(token_ids, state)
    np.testing.assert_allclose(steps, logits, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_layers": 0},
            "`num_layers` must be positive. Received: num_layers=0.",
        ),
        (
            {"num_heads": 3},
            "`hidden_dim` must be positive and divisible by `num_heads`. "
            "Received: hidden_dim=16, num_heads=3.",
        ),
        (
            {"hidden_dim": 0},
            "`hidden_dim` must be positive and divisible by `num_heads`. "
            "Received: hidden_dim=0, num_heads=2.",
        ),
        (
            {"dropout": 1.5},
            "`dropout` must lie in [0, 1). Received: dropout=1.5.",
        ),
        (
            {"positions": "relative"},
            "`positions` must be one of ('sinusoidal', 'learned', 'rotary'). "
            "Received: positions='relative'.",
        ),
        (
            {"positions": "learned"},
            "`max_length` must be given if `positions` are learned, and only "
            "then. Received: max_length=None, positions='learned'.",
        ),
        (
            {"max_length": 24},
            "`max_length` must be given if `positions` are learned, and only "
            "then. Received: max_length=24, positions='sinusoidal'.",
        ),
        (
            {"vocabulary_size": 0},
            "`vocabulary_size` must be positive. Received: vocabulary_size=0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.build_language_model(**{**SIZES, **arguments})
    assert str(error.value) == message


def test_unknown_builders_are_named():
    with pytest.raises(ValueError) as error:
        models.build({"builder": "build_nothing", "arguments": {}})
    assert str(error.value) == (
        "`builder` must be one of ['build_code_transformer', "
        "'build_language_model', 'build_pixel_cnn', "
        "'build_reformer_encoder', 'build_reformer_language_model', "
        "'build_sequence_to_sequence', 'build_transformer_xl', "
        "'build_vq_vae', 'build_weighted_transformer']. Received: "
        "builder='build_nothing'."
    )


def test_the_step_twin_refuses_other_models():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    with pytest.raises(ValueError) as error:
        models.build_language_model_step(model)
    assert str(error.value) == (
        "`model` must come from `build_language_model`. "
        "Received: model='other'."
    )


@pytest.mark.parametrize(
    "options",
    [
        {"cutoffs": (4, 9)},
        {"cutoffs": (5,), "divisor": 2, "embedding_dim": 12, "tied": False},
        {"cutoffs": (4, 9), "divisor": 2, "positions": "rotary"},
    ],
    ids=str,
)
def test_an_adaptive_softmax_scores_what_the_steps_do(token_ids, options):
    model = models.build_language_model(**{**SIZES, **options})
    assert {key: x.shape for key, x in model.output.items()} == {
        "log_probs": (None, None, 13)
    }
    length = np.full(3, 19, "int32")
    inputs = {"token_ids": token_ids[:, :-1], "length": length}
    log_probs = np.asarray(model(inputs)["log_probs"])
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=1e-5)
    targets = token_ids[:, 1:]
    expected = -np.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    scorer = models.build_language_model_scorer(model)
    nll = scorer({**inputs, "target_ids": targets})["nll"]
    np.testing.assert_allclose(nll, expected, atol=1e-5)
    twin = models.build_language_model_step(model)
    state = twin.initial_state(3, 20)
    first, state = twin(token_ids[:, :7], state)
    np.testing.assert_allclose(first, log_probs[:, :7], atol=1e-5)
    rest, _ = twin.nll(token_ids[:, 7:-1], state, targets[:, 7:])
    np.testing.assert_allclose(rest, expected[:, 7:], atol=1e-5)


def test_untied_tables_begin_apart():
    model = models.build_language_model(
        **{**SIZES, "cutoffs": (5,), "divisor": 2, "tied": False}
    )
    firsts = [
        tuple(np.asarray(weight).ravel()[:3])
        for weight in model.trainable_weights
        if "table" in weight.name or "projection" in weight.name
    ]
    assert len(set(firsts)) == len(firsts) > 4


def test_a_scored_model_is_trained_by_its_targets(token_ids, tmp_path):
    model = models.build_language_model(
        **{**SIZES, "cutoffs": (4, 9), "dropout": 0.0}
    )
    scored = models.ScoredModel(
        model, models.build_language_model_scorer(model)
    )
    scored.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    inputs = {
        "token_ids": token_ids[:, :-1],
        "length": np.array([19, 4, 10], "int32"),
    }
    targets = token_ids[:, 1:]
    weights = (np.arange(19) < inputs["length"][:, None]).astype("float32")
    log_probs = np.asarray(model(inputs)["log_probs"])
    nll = -np.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    expected = (nll * weights).sum() / weights.sum()
    # Weights are those of the lengths if there are no others.
    for given in (None, {"logits": weights}):
        logs = scored.evaluate(
            inputs,
            {"logits": targets},
            sample_weight=given,
            return_dict=True,
            verbose=0,
        )
        assert logs["loss"] == pytest.approx(expected, rel=1e-5)
        assert logs["bits_per_token"] == pytest.approx(
            expected / np.log(2), rel=1e-5
        )
    scored.fit(inputs, {"logits": targets}, epochs=5, verbose=0)
    after = scored.evaluate(inputs, {"logits": targets}, verbose=0)
    assert after[0] < expected
    np.testing.assert_array_equal(
        scored.predict(inputs, verbose=0)["log_probs"].shape, (3, 19, 13)
    )
    with pytest.raises(ValueError, match="`scored_model` must not be saved"):
        scored.save(tmp_path / "model.keras")
    other = models.build_language_model(**SIZES)
    with pytest.raises(ValueError, match="with `cutoffs`"):
        models.build_language_model_scorer(other)

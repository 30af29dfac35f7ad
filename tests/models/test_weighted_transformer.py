"""Tests of keras_xf.models.weighted_transformer.

What it has in common with other encoder-decoders is tested beside it.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.losses import SmoothedCrossEntropy
from keras_xf.optimizers import make_weighted_transformer_optimizer

SIZES = {
    "vocabulary_size": 17,
    "num_layers": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "num_branches": 4,
    "seed": 1,
}


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    return {
        "source_ids": generator.integers(5, 17, (8, 7), dtype="int32"),
        "source_length": np.full(8, 7, "int32"),
        "target_ids": generator.integers(5, 17, (8, 9), dtype="int32"),
        "target_length": np.full(8, 9, "int32"),
    }


def scalars(model):
    """Numbers of branch weights."""
    return sum(
        weight.shape[0]
        for weight in model.weights
        if weight.name in ("kappa", "alpha")
    )


@pytest.mark.parametrize(
    ("name", "numbers"), [("layers_6", 192), ("large", 384)]
)
def test_parameters_of_the_presets(name, numbers):
    sizes = models.weighted_transformer_preset(name)
    # Widths do not matter to what is counted here but for the sums below.
    sizes |= {"hidden_dim": 64, "intermediate_dim": 128}
    model = models.build_weighted_transformer(vocabulary_size=10, **sizes)
    assert scalars(model) == numbers
    d, f, m = 64, 128, sizes["num_branches"]
    branched = 4 * d**2 + 2 * d * f + f + d + 2 * m
    plain = 4 * (d**2 + d)
    norm = 2 * d
    expected = 6 * (branched + norm) + 6 * (plain + norm + branched + norm)
    assert model.count_params() == expected + 10 * d


def test_presets_are_those_of_the_paper():
    names = ("num_layers", "hidden_dim", "intermediate_dim", "num_branches")
    for name, expected in {
        "layers_2": (2, 512, 2048, 8, 0.1),
        "layers_4": (4, 512, 2048, 8, 0.1),
        "layers_6": (6, 512, 2048, 8, 0.1),
        "layers_8": (8, 512, 2048, 8, 0.3),
        "large": (6, 1024, 4096, 16, 0.3),
    }.items():
        sizes = models.weighted_transformer_preset(name)
        assert tuple(sizes[n] for n in (*names, "dropout")) == expected
        assert not sizes["norm_first"]
    sizes = models.weighted_transformer_preset("layers_2")
    sizes["num_layers"] = 5
    assert models.weighted_transformer_preset("layers_2")["num_layers"] == 2
    with pytest.raises(ValueError, match="`name` must be one of"):
        models.weighted_transformer_preset("layers_3")


@pytest.mark.parametrize("branched", ["cross", "self", "both"])
def test_folded_models_are_the_same(batch, branched):
    model = models.build_weighted_transformer(
        **SIZES, branched=branched, branch_initializer="random"
    )
    folded = models.fold_branches(model)
    np.testing.assert_allclose(
        folded(batch)["logits"], model(batch)["logits"], atol=1e-5
    )
    twin = models.build_weighted_transformer_step(folded)
    state = twin.initial_state(batch["source_ids"], batch["source_length"], 9)
    logits, _ = twin(batch["target_ids"], state)
    np.testing.assert_allclose(logits, model(batch)["logits"], atol=1e-5)
    # The model is what it was.
    assert model.get_layer("encoder_attention_0").layer.factorized


def test_branch_weights_are_read_and_replaced(batch):
    model = models.build_weighted_transformer(
        **SIZES, branch_initializer="random"
    )
    learned = models.branch_weights(model)
    assert set(learned) == {
        *("encoder_attention_0", "encoder_attention_1"),
        *("cross_attention_0", "cross_attention_1"),
    }
    before = np.asarray(model(batch)["logits"])
    models.set_branch_weights(model, "equal")
    for block in models.branch_weights(model).values():
        for weights in block.values():
            np.testing.assert_array_equal(weights, np.full(4, 0.25, "float32"))
    equal = np.asarray(model(batch)["logits"])
    models.set_branch_weights(model, "random", seed=3)
    drawn = models.branch_weights(model)
    models.set_branch_weights(model, "random", seed=3)
    np.testing.assert_array_equal(
        drawn["cross_attention_1"]["alpha"],
        models.branch_weights(model)["cross_attention_1"]["alpha"],
    )
    models.set_branch_weights(model, learned)
    np.testing.assert_array_equal(model(batch)["logits"], before)
    assert np.abs(before - equal).max() > 1e-4
    floored = models.build_weighted_transformer(**SIZES, min_weight=0.2)
    models.set_branch_weights(floored, "random", seed=1)
    for block in models.branch_weights(floored).values():
        for weights in block.values():
            assert weights.min() >= np.float32(0.2)
            assert abs(weights.sum() - 1) < 1e-6
            assert np.ptp(weights) > 1e-3
    learned["cross_attention_0"]["kappa"] = np.array([0.5, 0.5, 0.5, -0.5])
    with pytest.raises(ValueError) as error:
        models.set_branch_weights(model, learned)
    assert str(error.value) == (
        "`weights` must have weights on the simplex for each block. Received: "
        "block='cross_attention_0', kappa=[0.5, 0.5, 0.5, -0.5]."
    )


def train(
    batch, strategy=None, dtype=None, accumulation=None, min_weight=0.0, steps=6
):
    """Trains, and returns all branch weights after each step."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    # For all: then `compile` scales losses of half precision.
    keras.config.set_dtype_policy(dtype or before)
    try:
        with (strategy or tf.distribute.get_strategy()).scope():
            model = models.build_weighted_transformer(
                **SIZES, dropout=0.0, min_weight=min_weight
            )
    finally:
        keras.config.set_dtype_policy(before)
    with (strategy or tf.distribute.get_strategy()).scope():
        model.compile(
            make_weighted_transformer_optimizer(
                hidden_dim=16,
                num_layers=2,
                total_steps=100,
                gradient_accumulation_steps=accumulation,
            ),
            {"logits": SmoothedCrossEntropy()},
        )
    is_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled == (dtype == "mixed_float16")
    targets = {"logits": np.roll(batch["target_ids"], -1, axis=1)}
    seen = []

    class Recorder(keras.callbacks.Callback):
        def on_train_batch_end(self, index, logs=None):
            blocks = models.branch_weights(self.model).values()
            seen.append([w for block in blocks for w in block.values()])

    data = tf.data.Dataset.from_tensors((batch, targets)).repeat(steps)
    model.fit(data, shuffle=False, verbose=0, callbacks=[Recorder()])
    return np.array(seen)


@pytest.mark.parametrize(
    ("dtype", "accumulation", "min_weight"),
    [
        (None, None, 0.0),
        ("mixed_bfloat16", None, 0.2),
        ("mixed_float16", 2, 0.0),
    ],
)
def test_branch_weights_stay_on_the_simplex(
    batch, dtype, accumulation, min_weight
):
    seen = train(
        batch, dtype=dtype, accumulation=accumulation, min_weight=min_weight
    )
    assert seen.min() >= min_weight - 1e-7
    np.testing.assert_allclose(seen.sum(-1), 1, atol=1e-6)
    assert np.abs(seen[-1] - 0.25).max() > 0.01
    if min_weight:
        # Some would go further.
        assert seen.min() == pytest.approx(min_weight, abs=1e-7)


def test_replicas_agree(batch, strategy):
    alone, together = train(batch), train(batch, strategy)
    np.testing.assert_allclose(together.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"positions": "rotary"},
            "`positions` must be one of ('sinusoidal', 'learned'). "
            "Received: positions='rotary'.",
        ),
        (
            {"branched": "encoder"},
            "`branched` must be one of ('cross', 'self', 'both'). "
            "Received: branched='encoder'.",
        ),
        (
            {"intermediate_dim": 30},
            "`intermediate_dim` must be divisible by `num_branches`. "
            "Received: intermediate_dim=30, num_branches=4.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.build_weighted_transformer(**{**SIZES, **arguments})
    assert str(error.value) == message

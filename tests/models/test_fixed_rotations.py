"""Tests of keras_xf.models.fixed_rotations."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.layers import LSHSelfAttention
from keras_xf.models.reversible_stack import blocks_of

SIZES = {
    "vocabulary_size": 13,
    "max_length": 24,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 16,
    "attention": ("lsh", "chunked", "lsh"),
    "chunk_length": 4,
    "num_hashes": 2,
    "dropout": 0.3,
}


def make(**arguments):
    return models.build_reformer_language_model(**{**SIZES, **arguments})


def inputs_of(length=21):
    generator = np.random.default_rng(0)
    return {
        "token_ids": generator.integers(0, 13, (2, length), dtype="int32"),
        "length": np.array([length, 9], "int32"),
    }


def lsh_layers(model):
    blocks = blocks_of(model.get_layer("stack"))
    return [f.layer for f, _ in blocks if isinstance(f.layer, LSHSelfAttention)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"length_multiple": 8, "reversible": False},
        # A product of two numbers of buckets.
        {"lsh": {"num_buckets": (2, 4)}, "attention": ("lsh",)},
    ],
)
def test_it_computes_the_same(arguments):
    model = make(**arguments)
    # No weight as it was initialized.
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign_add(0.1 * generator.normal(size=weight.shape))
    fixed = models.fix_rotations(model)
    np.testing.assert_allclose(
        fixed(inputs_of())["logits"], model(inputs_of())["logits"], atol=1e-6
    )
    for layer, new in zip(lsh_layers(model), lsh_layers(fixed), strict=True):
        assert not layer.injected_rotations
        assert new.injected_rotations
        assert np.any(new.rotations)
    # Copies: the one can be trained further without the other.
    table = model.get_layer("embedding").weights[0]
    table.assign(table[::-1])
    assert not np.allclose(
        fixed(inputs_of())["logits"], model(inputs_of())["logits"], atol=0.1
    )


def test_the_graph_has_nothing_that_draws():
    def ops(model):
        function = tf.function(
            lambda inputs: model(inputs, training=False),
            autograph=False,
        ).get_concrete_function(inputs_of())
        definition = function.graph.as_graph_def()
        nodes = list(definition.node)
        for inner in definition.library.function:
            nodes += inner.node_def
        return {node.op for node in nodes}

    model = make(attention=("lsh",))
    assert any("Random" in op for op in ops(model))
    assert not any("Random" in op for op in ops(models.fix_rotations(model)))


def test_layers_of_one_model_do_not_share_rotations():
    first, second = lsh_layers(models.fix_rotations(make(seed=3)))
    assert not np.allclose(first.rotations, second.rotations)


def test_rotations_that_are_weights_stay(tmp_path):
    model = make(lsh={"injected_rotations": True})
    assert models.fix_rotations(model) is model
    plain = models.build_language_model(
        vocabulary_size=13, num_layers=1, hidden_dim=8, num_heads=2
    )
    assert models.fix_rotations(plain) is plain
    fixed = models.fix_rotations(make())
    assert models.fix_rotations(fixed) is fixed


def test_an_encoder_keeps_its_classes_and_its_precision():
    arguments = {
        name: value for name, value in SIZES.items() if name != "attention"
    }
    model = models.build_reformer_encoder(
        num_classes=5,
        attention=("lsh",),
        dtype="mixed_bfloat16",
        **arguments,
    )
    fixed = models.fix_rotations(model)
    assert fixed.get_layer("embedding").compute_dtype == "bfloat16"
    logits = fixed(inputs_of())["logits"]
    assert logits.shape == (2, 5)
    np.testing.assert_allclose(logits, model(inputs_of())["logits"], atol=1e-6)

"""Tests of keras_xf.layers.AdaptiveEmbedding.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import AdaptiveEmbedding
from tests.oracles import adaptive_softmax as oracle

IDS = np.array([[0, 3, 4], [6, 7, 10]])
BINS = {"cutoffs": (4, 7), "divisor": 2}


def test_vectors_are_those_of_the_oracle():
    layer = AdaptiveEmbedding(11, 8, **BINS)
    outputs, tables = layer(IDS, return_tables=True)
    assert [t.shape for t in tables["tables"]] == [(4, 8), (3, 4), (4, 2)]
    expected = oracle.embed(
        IDS.ravel(), BINS["cutoffs"], tables["tables"], tables["projections"]
    )
    np.testing.assert_allclose(
        outputs, expected.reshape(2, 3, 8), rtol=1e-5, atol=1e-9
    )
    np.testing.assert_array_equal(layer(IDS), outputs)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, [(11, 8)]),
        ({"divisor": 2}, [(11, 8)]),
        ({"embedding_dim": 3}, [(11, 3), (3, 8)]),
        ({"cutoffs": (4, 7)}, [(11, 8)]),
        ({"cutoffs": (4, 7), "embedding_dim": 3}, [(11, 3), (3, 8)]),
        ({"cutoffs": (4,), "divisor": 4}, [(4, 8), (7, 2), (8, 8), (2, 8)]),
        (
            {"cutoffs": (4,), "divisor": 2, "embedding_dim": 12},
            [(4, 12), (7, 6), (12, 8), (6, 8)],
        ),
    ],
)
def test_tables_and_projections(options, shapes):
    layer = AdaptiveEmbedding(11, 8, **options)
    _, shared = layer(IDS, return_tables=True)
    assert [w.shape for w in layer.weights] == shapes
    flat = [*shared["tables"], *shared["projections"]]
    for weight, tensor in zip(layer.weights, flat, strict=True):
        np.testing.assert_array_equal(weight, tensor)


def test_one_table_is_an_embedding():
    layer = AdaptiveEmbedding(11, 8)
    outputs = layer(IDS)
    (table,) = layer.get_weights()
    np.testing.assert_allclose(outputs, table[IDS] * np.sqrt(8), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, BINS], ids=["one bin", "bins"])
def test_gradients_are_dense_and_of_the_rows_looked_up(options):
    layer = AdaptiveEmbedding(11, 8, **options)
    layer(IDS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(np.array([1, 1, 5])) ** 2)
    gradients = tape.gradient(loss, [w.value for w in layer.tables])
    used = np.concatenate([np.any(x, axis=-1) for x in gradients])
    np.testing.assert_array_equal(np.flatnonzero(used), [1, 5])


@pytest.mark.parametrize("options", [{}, BINS], ids=["one bin", "bins"])
def test_initializers_for_small_models_give_variance_one(options):
    dim = 64
    layer = AdaptiveEmbedding(
        3000,
        dim,
        cutoffs=(1000, 2000),
        divisor=4,
        embeddings_initializer=keras.initializers.RandomNormal(
            stddev=dim**-0.5, seed=1
        ),
        projections_initializer=keras.initializers.LecunNormal(seed=2),
    )
    outputs = np.asarray(layer(np.arange(3000)))
    for start in (0, 1000, 2000):
        part = outputs[start : start + 1000]
        # The least wide table has 4 columns: its projection varies most.
        assert part.var() == pytest.approx(1, rel=0.25)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int64"])
def test_ids_may_be_of_any_integer_dtype(dtype):
    layer = AdaptiveEmbedding(11, 8, **BINS)
    np.testing.assert_array_equal(layer(IDS.astype(dtype)), layer(IDS))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_tables_stay_in_the_dtype_of_the_weights(policy):
    layer = AdaptiveEmbedding(11, 8, **BINS, dtype=policy)
    outputs, shared = layer(IDS, return_tables=True)
    symbolic, symbolic_shared = layer(
        keras.Input((None,), dtype="int32"), return_tables=True
    )
    assert outputs.dtype == symbolic.dtype == layer.compute_dtype
    for tensor, symbol in zip(
        keras.tree.flatten(shared),
        keras.tree.flatten(symbolic_shared),
        strict=True,
    ):
        assert tensor.dtype == symbol.dtype == "float32"
        assert tuple(tensor.shape) == tuple(symbol.shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"vocabulary_size": 0},
            "`vocabulary_size` must be positive. Received: vocabulary_size=0.",
        ),
        ({"dim": -1}, "`dim` must be positive. Received: dim=-1."),
        (
            {"divisor": 0},
            "`divisor` must be positive. Received: divisor=0.",
        ),
        (
            {"divisor": 1.5},
            "`divisor` must be an integer. Received: divisor=1.5.",
        ),
        (
            {"embedding_dim": 0},
            "`embedding_dim` must be positive. Received: embedding_dim=0.",
        ),
        (
            {"cutoffs": (7, 4)},
            "`cutoffs` must be positive and increase. "
            "Received: cutoffs=(7, 4).",
        ),
        (
            {"cutoffs": (0, 4)},
            "`cutoffs` must be positive and increase. "
            "Received: cutoffs=(0, 4).",
        ),
        (
            {"cutoffs": (4, 4)},
            "`cutoffs` must be positive and increase. "
            "Received: cutoffs=(4, 4).",
        ),
        (
            {"cutoffs": (4.0,)},
            "`cutoffs` must be a sequence of integers. "
            "Received: cutoffs=(4.0,).",
        ),
        (
            {"cutoffs": 4},
            "`cutoffs` must be a sequence of integers. Received: cutoffs=4.",
        ),
        (
            {"cutoffs": (4, 11)},
            "`cutoffs` must be less than `vocabulary_size`. "
            "Received: cutoffs=(4, 11), vocabulary_size=11.",
        ),
        (
            {"cutoffs": (4, 7), "divisor": 2, "embedding_dim": 3},
            "`embedding_dim` must be wide enough to be divided by `divisor` "
            "once for each of the `cutoffs`. "
            "Received: embedding_dim=3, divisor=2, cutoffs=(4, 7).",
        ),
        (
            {"cutoffs": (4, 7), "divisor": 3},
            "`dim` must be wide enough to be divided by `divisor` once for "
            "each of the `cutoffs`. "
            "Received: dim=8, divisor=3, cutoffs=(4, 7).",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        AdaptiveEmbedding(**{"vocabulary_size": 11, "dim": 8, **arguments})
    assert str(error.value) == message


@pytest.mark.parametrize("options", [{}, BINS], ids=["one bin", "bins"])
@pytest.mark.parametrize("token", [11, -1])
def test_rejects_tokens_out_of_range(options, token):
    layer = AdaptiveEmbedding(11, 8, **options)
    with pytest.raises(ValueError) as error:
        layer(np.array([3, token]))
    message = f"`token_ids` must lie in [0, 11). Received: token_ids={token}."
    assert message in str(error.value)


@pytest.mark.parametrize("options", [{}, BINS], ids=["one bin", "bins"])
def test_a_token_beyond_the_last_fails_in_a_graph(options):
    layer = AdaptiveEmbedding(11, 8, **options)
    layer(IDS)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(layer)(np.array([3, 11]))


def test_rejects_floats_as_ids():
    layer = AdaptiveEmbedding(11, 8)
    with pytest.raises(ValueError) as error:
        layer(np.array([1.0], "float32"))
    assert (
        "`token_ids` must be integer token ids. Received: dtype='float32'."
        in str(error.value)
    )

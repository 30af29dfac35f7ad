"""Tests of keras_xf.layers.TokenEmbedding.

What every layer owes is tested in tests/conformance.
"""

import numpy as np
import pytest

from keras_xf.layers import TokenEmbedding


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")


def test_both_directions_share_one_table(vectors):
    layer = TokenEmbedding(vocabulary_size=11, dim=8)
    ids = np.array([[1, 10, 0]])
    outputs = layer(ids)
    (table,) = layer.get_weights()
    np.testing.assert_allclose(outputs, table[ids] * np.sqrt(8), rtol=1e-6)
    np.testing.assert_allclose(
        layer(vectors, reverse=True), vectors @ table.T, atol=1e-5
    )


def test_untied_directions_have_tables_of_their_own(vectors):
    layer = TokenEmbedding(vocabulary_size=11, dim=8, tied=False)
    logits = layer(vectors, reverse=True)
    table, reverse_table = layer.get_weights()
    assert not np.allclose(table, reverse_table)
    np.testing.assert_allclose(logits, vectors @ reverse_table.T, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int64"])
def test_ids_may_be_of_any_integer_dtype(dtype):
    layer = TokenEmbedding(vocabulary_size=11, dim=8)
    ids = np.array([[1, 10, 0]])
    np.testing.assert_array_equal(layer(ids.astype(dtype)), layer(ids))


def test_vectors_and_logits_start_with_variance_one():
    layer = TokenEmbedding(vocabulary_size=1000, dim=64)
    vectors = np.asarray(layer(np.arange(1000)))
    # 64000 draws: three standard deviations of the variance are 0.017.
    assert vectors.var() == pytest.approx(1, abs=0.02)
    normal = np.random.default_rng(0).normal(size=(200, 64)).astype("float32")
    logits = np.asarray(layer(normal, reverse=True))
    assert logits.var() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(vectors, policy):
    layer = TokenEmbedding(vocabulary_size=11, dim=8, dtype=policy)
    assert layer(vectors, reverse=True).dtype == "float32"
    assert layer(np.array([1])).dtype == layer.compute_dtype


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"vocabulary_size": 0, "dim": 8},
            "`vocabulary_size` must be positive. Received: vocabulary_size=0.",
        ),
        (
            {"vocabulary_size": 8, "dim": -1},
            "`dim` must be positive. Received: dim=-1.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        TokenEmbedding(**arguments)
    assert str(error.value) == message


def test_rejects_floats_as_ids(vectors):
    layer = TokenEmbedding(vocabulary_size=11, dim=8)
    with pytest.raises(ValueError) as error:
        layer(vectors)
    assert (
        "`inputs` must be integer token ids. Received: dtype='float32'."
        in str(error.value)
    )

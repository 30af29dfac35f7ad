"""Tests of keras_xf.layers.Residual.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest

from keras_xf.layers import FeedForward
from keras_xf.layers import Residual
from keras_xf.layers import SelfAttention


@pytest.fixture
def sequences():
    generator = np.random.default_rng(0)
    return generator.normal(2, 3, size=(2, 5, 8)).astype("float32")


def normalize(x, epsilon=1e-5):
    deviation = x - x.mean(axis=-1, keepdims=True)
    variance = (deviation**2).mean(axis=-1, keepdims=True)
    return deviation / np.sqrt(variance + epsilon)


def test_normalizes_the_input_or_the_sum(sequences):
    inner = FeedForward(16)
    first = Residual(inner, norm_first=True)
    last = Residual(inner, norm_first=False)
    np.testing.assert_allclose(
        first(sequences),
        sequences + np.asarray(inner(normalize(sequences))),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        last(sequences),
        normalize(sequences + np.asarray(inner(sequences))),
        atol=1e-5,
    )


def test_drops_the_inner_output_only(sequences):
    inner = keras.layers.Dense(8, bias_initializer="ones")
    layer = Residual(inner, dropout=0.5, seed=1)
    added = np.asarray(layer(sequences, training=True)) - sequences
    plain = np.asarray(layer(sequences)) - sequences
    dropped = np.isclose(added, 0, atol=1e-6)
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(
        added[~dropped], 2 * plain[~dropped], rtol=1e-4, atol=1e-5
    )


def test_hands_state_and_mask_through(sequences):
    layer = Residual(SelfAttention(num_heads=2, key_dim=4, causal=True))
    expected = layer(sequences)
    state = layer.initial_state(batch_size=2, max_length=5)
    outputs = []
    for place in range(5):
        output, state = layer(sequences[:, place : place + 1], state=state)
        outputs.append(output)
    np.testing.assert_allclose(
        np.concatenate(outputs, axis=1), expected, atol=1e-5
    )


def test_wraps_any_layer_and_survives_a_file(sequences, tmp_path):
    inputs = keras.Input((None, 8))
    inner = keras.layers.Dense(8, activation="tanh")
    model = keras.Model(inputs, Residual(inner, dropout=0.1)(inputs))
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(revived(sequences), model(sequences))


@pytest.mark.parametrize("dim", [1, 5])
def test_rejects_a_layer_that_changes_the_shape(sequences, dim):
    with pytest.raises(ValueError) as error:
        Residual(keras.layers.Dense(dim))(sequences)
    assert (
        "`layer` must keep the shape of its inputs. "
        f"Received: inputs=(2, 5, 8), outputs=(2, 5, {dim})."
        in str(error.value)
    )


def test_masks_of_keras_reach_the_inner_layer(sequences):
    ids = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0]])
    embedding = keras.layers.Embedding(5, 8, mask_zero=True)
    for norm_first in (True, False):
        layer = Residual(SelfAttention(2, 4), norm_first=norm_first)
        np.testing.assert_allclose(
            layer(embedding(ids)),
            layer(np.asarray(embedding(ids)), padding_mask=ids > 0),
            atol=1e-6,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layer": None},
            "`layer` must be a `keras.layers.Layer`. Received: layer=None.",
        ),
        (
            {"layer": FeedForward(4), "dropout": 1.5},
            "`dropout` must lie in [0, 1). Received: dropout=1.5.",
        ),
        (
            {"layer": FeedForward(4), "epsilon": 0},
            "`epsilon` must be positive. Received: epsilon=0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        Residual(**arguments)
    assert str(error.value) == message

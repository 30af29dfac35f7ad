"""Tests of keras_xf.layers.Sublayer.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import FeedForward
from keras_xf.layers import Residual
from keras_xf.layers import SelfAttention
from keras_xf.layers import Sublayer


@pytest.fixture
def sequences():
    generator = np.random.default_rng(0)
    return generator.normal(2, 3, size=(2, 5, 8)).astype("float32")


def test_is_what_a_residual_adds(sequences):
    inner = FeedForward(16)
    for arguments in ({}, {"epsilon": 0.5}):
        layer = Sublayer(inner, **arguments)
        residual = Residual(inner, **arguments)
        np.testing.assert_allclose(
            sequences + layer(sequences), residual(sequences), atol=1e-6
        )


def test_drops_the_inner_output_only(sequences):
    inner = keras.layers.Dense(8, bias_initializer="ones")
    layer = Sublayer(inner, dropout=0.5, seed=1)
    outputs = np.asarray(layer(sequences, training=True))
    plain = np.asarray(layer(sequences))
    dropped = outputs == 0
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(
        outputs[~dropped], 2 * plain[~dropped], rtol=1e-5
    )


def test_hands_state_and_mask_through(sequences):
    layer = Sublayer(SelfAttention(num_heads=2, key_dim=4, causal=True))
    mask = np.arange(5) < np.array([[5], [3]])
    expected = layer(sequences, padding_mask=mask)
    state = layer.initial_state(batch_size=2, max_length=5)
    outputs, state = layer(sequences[:, :4], mask[:, :4], state=state)
    np.testing.assert_array_equal(state["position"], [4, 3])
    np.testing.assert_allclose(outputs[:1], expected[:1, :4], atol=1e-5)
    np.testing.assert_allclose(outputs[1:, :3], expected[1:, :3], atol=1e-5)


def test_masks_reach_layers_by_the_name_they_know(sequences):
    mask = np.arange(5) < np.array([[5], [3]])
    for inner in (
        SelfAttention(2, 4),
        keras.layers.GRU(8, return_sequences=True),
        Residual(SelfAttention(2, 4)),
    ):
        layer = Sublayer(inner)
        outputs = layer(sequences, padding_mask=mask)
        short = layer(sequences[1:, :3])
        np.testing.assert_allclose(outputs[1:, :3], short, atol=1e-6)
    for inner in (FeedForward(4), keras.layers.Dense(8)):
        layer = Sublayer(inner)
        np.testing.assert_array_equal(
            layer(sequences, padding_mask=mask), layer(sequences)
        )


class Recording(keras.layers.Layer):
    """Keeps a record of its input's signs."""

    keeps_record = True

    def call(self, inputs, record=None, return_record=False):
        record = tf.sign(inputs) if record is None else record
        return (record * inputs, record) if return_record else record * inputs


def test_passes_the_record_on(sequences):
    layer = Sublayer(Recording())
    assert layer.keeps_record
    assert not Sublayer(FeedForward(4)).keeps_record
    outputs, record = layer(sequences, return_record=True)
    np.testing.assert_array_equal(layer(sequences, record=-record), -outputs)


def test_half_precision_begins_after_the_normalization(sequences):
    # Of numbers as large as these bfloat16 keeps nothing that differs.
    x = sequences + 4096
    full = Sublayer(keras.layers.Dense(8))
    half = Sublayer(
        keras.layers.Dense(8, dtype="mixed_bfloat16"), dtype="mixed_bfloat16"
    )
    full.build(x.shape)
    half.build(x.shape)
    half.set_weights(full.get_weights())
    outputs = half(x)
    assert outputs.dtype == "bfloat16"
    np.testing.assert_allclose(tf.cast(outputs, "float32"), full(x), atol=0.05)


def test_wraps_any_layer_and_survives_a_file(sequences, tmp_path):
    inputs = keras.Input((None, 8))
    inner = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(8)])
    model = keras.Model(inputs, Sublayer(inner, dropout=0.1)(inputs))
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(revived(sequences), model(sequences))


@pytest.mark.parametrize("dim", [1, 5])
def test_rejects_a_layer_that_changes_the_shape(sequences, dim):
    with pytest.raises(ValueError) as error:
        Sublayer(keras.layers.Dense(dim))(sequences)
    assert (
        "`layer` must keep the shape of its inputs. "
        f"Received: inputs=(2, 5, 8), outputs=(2, 5, {dim})."
        in str(error.value)
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
        Sublayer(**arguments)
    assert str(error.value) == message

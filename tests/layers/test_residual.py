"""Tests of keras_xf.layers.Residual.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import FeedForward
from keras_xf.layers import RelativeAttention
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


def with_memory(norm_first, **kwargs):
    """A connection around attention that reads a memory before its inputs."""
    inner = RelativeAttention(
        num_heads=2, key_dim=4, biases_initializer="glorot_uniform", **kwargs
    )
    layer = Residual(inner, norm_first=norm_first, **kwargs)
    layer.build((None, None, 8))
    generator = np.random.default_rng(1)
    for weight in layer.norm.weights:
        weight.assign(generator.normal(size=8))
    return layer


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_memory_is_normalized_where_inputs_are(sequences, norm_first):
    layer = with_memory(norm_first)
    memory, inputs = np.split(sequences, [3], axis=1)
    length = np.array([3, 1], "int32")
    scale, center = (w.numpy() for w in layer.norm.weights)
    if norm_first:
        normal = normalize(sequences) * scale + center
        expected = inputs + layer.layer(
            normal[:, 3:], memory=normal[:, :3], memory_length=length
        )
    else:
        expected = inputs + layer.layer(
            inputs, memory=memory, memory_length=length
        )
        expected = normalize(expected.numpy()) * scale + center
    outputs = layer(inputs, memory=memory, memory_length=length)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("norm_first", [True, False])
def test_weights_learn_from_a_memory_that_does_not(sequences, norm_first):
    layer = with_memory(norm_first, dtype="float64")
    memory, inputs = np.split(sequences.astype("float64"), [3], axis=1)
    memory = tf.constant(memory)
    factors = np.random.default_rng(1).normal(size=inputs.shape)

    def weighted_sum():
        return tf.reduce_sum(layer(inputs, memory=memory) * factors)

    weights = [w.value for w in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(memory)
        loss = weighted_sum()
    *gradients, of_memory = tape.gradient(loss, [*weights, memory])
    assert of_memory is None
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = np.random.default_rng(2).normal(size=weight.shape)
        values = []
        for step in (1e-6, -1e-6):
            weight.assign_add(step * direction)
            values.append(weighted_sum())
            weight.assign_sub(step * direction)
        np.testing.assert_allclose(
            tf.reduce_sum(gradient * direction),
            (values[0] - values[1]) / 2e-6,
            rtol=1e-6,
            atol=1e-7,
            err_msg=weight.name,
        )


def test_another_layer_comes_under_the_very_normalization(sequences):
    layer = with_memory(norm_first=False, dtype="float64")
    layer.dropout = 0.25
    inner = layer.layer.with_options(attention_window=2)
    other = layer.with_layer(inner)
    assert other.layer is inner
    assert other.norm is layer.norm
    config, of_other = layer.get_config(), other.get_config()
    assert of_other.pop("layer") != config.pop("layer")
    assert of_other == config
    assert {id(w) for w in other.trainable_weights} == {
        id(w) for w in layer.trainable_weights
    }
    expected = sequences + np.asarray(inner(sequences))
    scale, center = (w.numpy() for w in layer.norm.weights)
    np.testing.assert_allclose(
        other(sequences), normalize(expected) * scale + center, atol=1e-5
    )


def test_another_layer_needs_weights_beside_it():
    layer = Residual(FeedForward(4), name="residual")
    with pytest.raises(ValueError) as error:
        layer.with_layer(FeedForward(4))
    assert str(error.value) == (
        "`residual` must be built. Received: residual='residual'."
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

"""Tests of keras_xf.layers.CrossAttention.

What every layer owes (configuration, saving, export, shapes, precision,
gradients) is tested in tests/conformance; here is what only this layer does.
"""

import keras
import numpy as np
import pytest

from keras_xf.layers import CrossAttention


@pytest.fixture
def sequences():
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(3, 4, 8)).astype("float32"),
        generator.normal(size=(3, 10, 6)).astype("float32"),
    )


MASK = np.arange(10) < np.array([[10], [4], [1]])


def test_equals_keras_multi_head_attention(sequences):
    inputs, source = sequences
    layer = CrossAttention(num_heads=2, key_dim=3, value_dim=5)
    outputs = layer(inputs, source, source_mask=MASK)
    peer = keras.layers.MultiHeadAttention(2, key_dim=3, value_dim=5)
    peer.build(inputs.shape, source.shape)
    kernel = np.reshape(layer.key_value.kernel, (6, 2, 8))
    bias = np.reshape(layer.key_value.bias, (2, 8))
    peer.set_weights(
        [
            np.reshape(layer.query.kernel, (8, 2, 3)),
            np.reshape(layer.query.bias, (2, 3)),
            kernel[..., :3],
            bias[:, :3],
            kernel[..., 3:],
            bias[:, 3:],
            np.reshape(layer.output_projection.kernel, (2, 5, 8)),
            layer.output_projection.bias,
        ]
    )
    np.testing.assert_allclose(
        outputs,
        peer(inputs, source, attention_mask=MASK[:, None]),
        atol=1e-5,
    )


def test_a_source_is_projected_once(sequences):
    inputs, source = sequences
    layer = CrossAttention(num_heads=2, key_dim=4)
    for mask in (None, MASK):
        whole = layer(inputs, source, source_mask=mask)
        state = layer.source_state(source, mask)
        for place in range(4):
            outputs, state = layer(inputs[:, place : place + 1], state=state)
            np.testing.assert_allclose(
                outputs[:, 0], whole[:, place], atol=1e-6
            )


def test_padding_of_the_source_is_not_seen(sequences):
    inputs, source = sequences
    layer = CrossAttention(num_heads=2, key_dim=4)
    outputs = layer(
        inputs, np.where(MASK[..., None], source, 1e3), source_mask=MASK
    )
    for row, length in enumerate(MASK.sum(1)):
        expected = layer(inputs[row : row + 1], source[row : row + 1, :length])
        np.testing.assert_allclose(outputs[row], expected[0], atol=1e-5)


def test_a_mask_that_keras_passes_on_is_honored():
    ids = np.array([[3, 4, 0, 0], [5, 6, 7, 0]])
    embedding = keras.layers.Embedding(9, 6, mask_zero=True)
    layer = CrossAttention(num_heads=2, key_dim=4)
    inputs = np.ones((2, 3, 8), "float32")
    outputs = layer(inputs, embedding(ids))
    expected = layer(inputs, np.asarray(embedding(ids)), source_mask=ids > 0)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_needs_a_source_or_a_state(sequences):
    inputs, source = sequences
    layer = CrossAttention(num_heads=2, key_dim=4)
    layer(inputs, source)
    state = layer.source_state(source)
    for arguments in ({}, {"source": source, "state": state}):
        with pytest.raises(ValueError, match="Either `source` or `state` must"):
            layer(inputs, **arguments)
    with pytest.raises(ValueError, match="`source_mask` must not be given"):
        layer(inputs, state=state, source_mask=MASK)
    with pytest.raises(ValueError, match="`padding_mask` must have the shape"):
        layer(inputs, source, source_mask=MASK[:1])

"""Tests of keras_xf.layers.SelfAttention.

What every layer owes (configuration, saving, export, shapes, precision,
gradients) is tested in tests/conformance; here is what only this layer does.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import SelfAttention


@pytest.fixture
def sequences():
    return np.random.default_rng(0).normal(size=(3, 10, 8)).astype("float32")


def test_equals_keras_multi_head_attention(sequences):
    layer = SelfAttention(num_heads=2, key_dim=3, value_dim=5)
    mask = np.arange(10) < np.array([[10], [4], [1]])
    outputs = layer(sequences, padding_mask=mask)
    peer = keras.layers.MultiHeadAttention(2, key_dim=3, value_dim=5)
    peer.build(sequences.shape, sequences.shape)
    kernel, bias, output_kernel, output_bias = layer.get_weights()
    kernel, bias = kernel.reshape(8, 2, 11), bias.reshape(2, 11)
    weights = []
    for place in (slice(0, 3), slice(3, 6), slice(6, 11)):
        weights += [kernel[..., place], bias[:, place]]
    weights += [output_kernel.reshape(2, 5, 8), output_bias]
    peer.set_weights(weights)
    np.testing.assert_allclose(
        outputs,
        peer(sequences, sequences, attention_mask=mask[:, None]),
        atol=1e-5,
    )


def test_causal_outputs_do_not_know_the_future(sequences):
    layer = SelfAttention(num_heads=2, key_dim=4, causal=True)
    changed = sequences.copy()
    changed[:, 6:] += 1
    outputs, others = layer(sequences), layer(changed)
    np.testing.assert_array_equal(outputs[:, :6], others[:, :6])
    assert np.all(np.any(outputs[:, 6:] != others[:, 6:], axis=-1))


def test_without_rotation_order_does_not_matter(sequences):
    order = np.random.default_rng(1).permutation(10)
    for rotary in (False, True):
        layer = SelfAttention(num_heads=2, key_dim=4, rotary=rotary)
        outputs = np.asarray(layer(sequences))[:, order]
        shuffled = layer(sequences[:, order])
        assert np.allclose(outputs, shuffled, atol=1e-5) is not rotary


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("pieces", [[10], [1] * 10, [4, 1, 3, 2]])
def test_steps_equal_one_pass(sequences, pieces, rotary):
    layer = SelfAttention(num_heads=2, key_dim=4, causal=True, rotary=rotary)
    expected = layer(sequences)
    state = layer.initial_state(batch_size=3, max_length=12)
    outputs = []
    for piece in np.split(sequences, np.cumsum(pieces)[:-1], axis=1):
        output, state = layer(piece, state=state)
        outputs.append(output)
    np.testing.assert_allclose(
        np.concatenate(outputs, axis=1), expected, atol=1e-6
    )
    np.testing.assert_array_equal(state["position"], [10, 10, 10])


def test_rows_of_a_step_may_be_of_different_lengths(sequences):
    layer = SelfAttention(num_heads=2, key_dim=4, causal=True, rotary=True)
    expected = np.asarray(layer(sequences))
    state = layer.initial_state(batch_size=3, max_length=10)
    seen = np.zeros(3, int)
    for lengths in ([5, 1, 3], [1, 0, 4], [4, 5, 1], [0, 4, 2]):
        lengths = np.array(lengths)
        width = max(lengths)
        # What is not real is nonsense, which must leave nothing behind.
        piece = np.full((3, width, 8), 1e3, "float32")
        for row, length in enumerate(lengths):
            piece[row, :length] = sequences[row, seen[row] :][:length]
        mask = np.arange(width) < lengths[:, None]
        outputs, state = layer(piece, padding_mask=mask, state=state)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(
                outputs[row, :length],
                expected[row, seen[row] :][:length],
                atol=1e-6,
            )
        seen += lengths
    np.testing.assert_array_equal(state["position"], seen)


@pytest.mark.parametrize(
    "initializer",
    [
        "orthogonal",
        keras.initializers.Orthogonal(seed=3),
        keras.initializers.Orthogonal(seed=keras.random.SeedGenerator(3)),
    ],
)
def test_both_projections_start_from_their_own_draws(initializer):
    layer = SelfAttention(
        num_heads=1, key_dim=8, kernel_initializer=initializer
    )
    layer.build((None, None, 8))
    kernel, _, output_kernel, _ = layer.get_weights()
    starts = kernel.ravel()[:64], output_kernel.ravel()
    assert abs(np.corrcoef(starts)[0, 1]) < 0.5


@pytest.mark.parametrize("side", ["left", "right", "middle"])
def test_padding_may_stand_anywhere(sequences, side):
    layer = SelfAttention(num_heads=2, key_dim=4)
    mask = np.ones((1, 10), bool)
    mask[:, {"left": [0, 1], "right": [8, 9], "middle": [4, 6]}[side]] = False
    alone = sequences[:1][mask][np.newaxis]
    outputs = np.asarray(layer(sequences[:1], padding_mask=mask))
    np.testing.assert_allclose(outputs[mask], layer(alone)[0], atol=1e-6)


def test_masks_of_keras_are_honored(sequences):
    ids = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0]])
    embedding = keras.layers.Embedding(5, 8, mask_zero=True)
    layer = SelfAttention(num_heads=2, key_dim=4)
    outputs = layer(embedding(ids))
    expected = layer(np.asarray(embedding(ids)), padding_mask=ids > 0)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    np.testing.assert_array_equal(outputs._keras_mask, ids > 0)
    # Both kinds of mask together hide what either hides.
    both = layer(embedding(ids), padding_mask=ids != 2)
    expected = layer(
        np.asarray(embedding(ids)), padding_mask=(ids > 0) & (ids != 2)
    )
    np.testing.assert_allclose(both, expected, atol=1e-6)


def test_an_empty_sequence_stays_empty():
    layer = SelfAttention(num_heads=2, key_dim=4)
    assert layer(np.zeros((3, 0, 8), "float32")).shape == (3, 0, 8)


def test_a_full_state_takes_no_more(sequences):
    layer = SelfAttention(num_heads=2, key_dim=4, causal=True)
    state = layer.initial_state(batch_size=3, max_length=2)
    _, state = layer(sequences[:, :2], state=state)
    with pytest.raises(tf.errors.InvalidArgumentError, match="ndices"):
        layer(sequences[:, 2:3], state=state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_heads": 0, "key_dim": 4},
            "`num_heads` must be positive. Received: num_heads=0.",
        ),
        (
            {"num_heads": 2, "key_dim": 0},
            "`key_dim` must be positive. Received: key_dim=0.",
        ),
        (
            {"num_heads": 2, "key_dim": 4, "value_dim": -1},
            "`value_dim` must be positive. Received: value_dim=-1.",
        ),
        (
            {"num_heads": 2, "key_dim": 3, "rotary": True},
            "`key_dim` must be even if `rotary`. Received: key_dim=3.",
        ),
        (
            {"num_heads": 2, "key_dim": 4, "dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        SelfAttention(**arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 10), (3, 10, 10)])
def test_rejects_masks_of_other_shapes(sequences, shape):
    layer = SelfAttention(num_heads=2, key_dim=4)
    with pytest.raises(ValueError) as error:
        layer(sequences, padding_mask=np.ones(shape, bool))
    assert (
        "`padding_mask` must have the shape (batch, length) with batch=3, "
        f"length=10. Received: shape={shape}." in str(error.value)
    )


def test_rejects_a_state_if_not_causal(sequences):
    layer = SelfAttention(num_heads=2, key_dim=4)
    state = layer.initial_state(batch_size=3, max_length=10)
    with pytest.raises(ValueError) as error:
        layer(sequences, state=state)
    assert "`state` needs `causal=True`. Received: causal=False." in str(
        error.value
    )

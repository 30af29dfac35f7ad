"""Tests of what only `LSHSelfAttention` promises."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import layers


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float64", 1e-5), ("mixed_float16", 0.02), ("mixed_bfloat16", 0.15)],
)
@pytest.mark.parametrize("reference_compatible", [False, True])
def test_precisions_agree_on_given_buckets(
    policy, tolerance, reference_compatible
):
    inputs = np.random.default_rng(0).normal(size=(3, 9, 8)).astype("float32")
    padding_mask = np.arange(9) < np.c_[[9, 6, 1]]
    arguments = {
        "num_heads": 2,
        "key_dim": 4,
        "chunk_length": 2,
        "num_hashes": 2,
        "num_buckets": 4,
        "seed": 3,
        "kernel_initializer": keras.initializers.GlorotUniform(seed=4),
        "reference_compatible": reference_compatible,
    }
    layer = layers.LSHSelfAttention(**arguments)
    expected, record = layer(
        inputs, padding_mask=padding_mask, return_record=True
    )
    other = layers.LSHSelfAttention(**arguments, dtype=policy)
    other.build(inputs.shape)
    other.set_weights(layer.get_weights())
    actual = other(inputs, padding_mask=padding_mask, record=record)
    assert np.any(np.abs(expected) > 10 * tolerance)
    np.testing.assert_allclose(
        np.asarray(actual, "float64"), expected, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("num_buckets", [4, (2, 2)])
def test_numbers_of_numpy_are_as_good_as_pythons(num_buckets):
    arguments = {
        "num_heads": 2,
        "key_dim": 4,
        "value_dim": 3,
        "chunk_length": 2,
        "num_hashes": 2,
        "num_buckets": num_buckets,
    }
    numpys = {
        name: tuple(map(np.int64, value))
        if isinstance(value, tuple)
        else np.int64(value)
        for name, value in arguments.items()
    }
    inputs = np.random.default_rng(0).normal(size=(1, 6, 8)).astype("float32")
    one, other = (
        layers.LSHSelfAttention(**given) for given in (arguments, numpys)
    )
    other.build(inputs.shape)
    one.build(inputs.shape)
    other.set_weights(one.get_weights())
    np.testing.assert_array_equal(one(inputs), other(inputs))
    config = other.get_config()
    assert json.dumps({name: config[name] for name in arguments}) == (
        json.dumps(arguments)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_heads": 2.5},
            "`num_heads` must be an integer. Received: num_heads=2.5.",
        ),
        (
            {"num_hashes": 1.5},
            "`num_hashes` must be an integer. Received: num_hashes=1.5.",
        ),
        (
            {"num_hashes": 0},
            "`num_hashes` must be positive. Received: num_hashes=0.",
        ),
        (
            {"num_buckets": 2.0},
            "`num_buckets` must be even and positive, or a tuple of such. "
            "Received: num_buckets=2.0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        layers.LSHSelfAttention(**{"num_heads": 2, "key_dim": 4} | arguments)
    assert str(error.value) == message


def test_rejects_a_record_of_other_rounds():
    layer = layers.LSHSelfAttention(2, 4, chunk_length=2, num_hashes=2)
    with pytest.raises(ValueError) as error:
        layer(np.ones((1, 6, 8)), record=np.zeros((1, 2, 3, 6), "int32"))
    assert "`record` must have the shape" in str(error.value)
    assert "num_hashes=2" in str(error.value)


def test_rejects_a_record_of_another_length():
    layer = layers.LSHSelfAttention(2, 4, chunk_length=2)
    with pytest.raises(ValueError) as error:
        layer(np.ones((1, 6, 8)), record=np.zeros((1, 2, 1, 5), "int32"))
    assert (
        "`record` must have the shape (batch, num_heads, num_hashes, length) "
        "with num_heads=2, num_hashes=1, length=6. "
    ) in str(error.value)


@pytest.mark.parametrize("training", [False, True])
def test_more_hashes_keep_the_first_ones(training):
    inputs = np.random.default_rng(0).normal(size=(2, 20, 8)).astype("float32")
    few, many = (
        layers.LSHSelfAttention(
            2, 4, chunk_length=2, num_hashes=number, num_buckets=6, seed=3
        )
        for number in (2, 4)
    )
    few.build(inputs.shape)
    many.build(inputs.shape)
    many.set_weights(few.get_weights())
    first, all_rounds = (
        np.asarray(layer(inputs, training=training, return_record=True)[1])
        for layer in (few, many)
    )
    np.testing.assert_array_equal(all_rounds[:, :, :2], first)
    for number in (1, 2, 3):
        assert np.any(all_rounds[:, :, number] != all_rounds[:, :, 0])


@pytest.mark.parametrize("num_buckets", [4, (2, 4)])
def test_inference_rotations_are_those_of_a_call(num_buckets):
    inputs = np.random.default_rng(0).normal(size=(2, 24, 8))
    arguments = {
        "num_heads": 2,
        "key_dim": 4,
        "chunk_length": 4,
        "num_hashes": 2,
        "num_buckets": num_buckets,
    }
    layer = layers.LSHSelfAttention(**arguments)
    expected, record = layer(inputs, return_record=True)
    injected = layers.LSHSelfAttention(**arguments, injected_rotations=True)
    injected.build(inputs.shape)
    for name in ("query_key", "value", "output_projection"):
        weights = getattr(layer, name).get_weights()
        getattr(injected, name).set_weights(weights)
    injected.rotations.assign(layer.inference_rotations())
    actual, other_record = injected(inputs, return_record=True)
    np.testing.assert_array_equal(other_record, record)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(
        injected.inference_rotations(), layer.inference_rotations()
    )


def test_inference_rotations_need_a_number_of_buckets():
    layer = layers.LSHSelfAttention(num_heads=2, key_dim=4)
    layer.build((None, None, 8))
    with pytest.raises(ValueError, match="num_buckets=None"):
        layer.inference_rotations()


def test_the_global_random_state_is_left_alone():
    inputs = np.ones((2, 20, 8), "float32")

    def draw(layer=None):
        keras.utils.set_random_seed(1)
        if layer is not None:
            layer.build(inputs.shape)
            layer(inputs, training=True)
        return np.random.random(), tf.random.uniform(()).numpy()

    layer = layers.LSHSelfAttention(
        2,
        4,
        chunk_length=2,
        dropout=0.5,
        seed=3,
        kernel_initializer=keras.initializers.RandomNormal(seed=4),
    )
    assert draw(layer) == draw()


@pytest.mark.parametrize("shape", [(0, 20, 8), (2, 0, 8)])
def test_of_nothing_it_makes_nothing(shape):
    layer = layers.LSHSelfAttention(2, 4, chunk_length=2)
    outputs, _ = layer(np.zeros(shape, "float32"), return_record=True)
    assert outputs.shape == shape

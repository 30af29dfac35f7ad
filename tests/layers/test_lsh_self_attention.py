"""Tests of what only `LSHSelfAttention` promises."""

import keras
import numpy as np
import pytest

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

"""Tests of keras_xf.ops.empty_batches."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops.empty_batches import never_empty

KERNEL = np.random.default_rng(0).normal(size=(2, 2, 3, 5)).astype("float32")


def convolve(inputs):
    assert inputs["ids"].dtype == tf.int32
    x = tf.nn.conv2d(inputs["images"], KERNEL, 1, "SAME")
    # Fails with the shape that empty images would get.
    return {"x": x + tf.ones([5]), "ids": inputs["ids"] + 1}


@pytest.mark.parametrize("number", [0, 1, 3])
def test_rows_are_what_they_are_without_it(number):
    images = np.random.default_rng(1).normal(size=(number, 4, 4, 3))
    inputs = {
        "images": tf.constant(images, tf.float32),
        "ids": tf.range(number),
    }
    outputs = tf.function(
        lambda inputs: never_empty(convolve, inputs),
        input_signature=[
            {
                "images": tf.TensorSpec([None, 4, 4, 3]),
                "ids": tf.TensorSpec([None], tf.int32),
            }
        ],
    )(inputs)
    assert outputs["x"].shape == (number, 4, 4, 5)
    np.testing.assert_array_equal(outputs["ids"], np.arange(number) + 1)
    if number:
        np.testing.assert_array_equal(outputs["x"], convolve(inputs)["x"])


def test_it_compiles():
    inputs = {"images": tf.ones([2, 4, 4, 3]), "ids": tf.range(2)}
    function = tf.function(
        lambda inputs: never_empty(convolve, inputs), jit_compile=True
    )
    np.testing.assert_allclose(
        function(inputs)["x"], convolve(inputs)["x"], atol=1e-5
    )

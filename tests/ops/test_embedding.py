"""Tests of keras_xf.ops.embedding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import embedding

IDS = np.array([[1, 3, 3], [0, 3, 1]], "int32")


def test_look_up_takes_rows():
    table = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(embedding.look_up(table, IDS), table[IDS])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_is_dense_and_sums_repeated_rows(jit_compile):
    generator = np.random.default_rng(0)
    table = tf.Variable(generator.normal(size=(5, 4)).astype("float32"))
    factors = generator.normal(size=(2, 3, 4)).astype("float32")

    @tf.function(jit_compile=jit_compile)
    def gradient_of(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(embedding.look_up(table, ids) * factors)
        return tape.gradient(loss, table)

    expected = np.zeros((5, 4))
    for place in np.ndindex(2, 3):
        expected[IDS[place]] += factors[place]
    gradient = gradient_of(tf.constant(IDS))
    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_adam_takes_the_step_of_the_summed_gradient():
    table = keras.Variable(np.zeros((5, 2), "float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(embedding.look_up(table, IDS))
    gradient = tape.gradient(loss, table.value)
    # Keras divides epsilon by sqrt(1 - beta_2) in the first step.
    optimizer = keras.optimizers.Adam(0.1, epsilon=(1 - 0.999) ** 0.5)
    optimizer.apply([gradient], [table])
    counts = np.array([1, 2, 0, 3, 0])
    # Adam's first step with epsilon = 1: learning_rate * g / (|g| + 1).
    expected = -0.1 * counts / (counts + 1.0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(table)[:, 0], expected, rtol=1e-4
    )

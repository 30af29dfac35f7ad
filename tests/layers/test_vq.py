"""Tests of keras_xf.layers.VQ."""

import keras
import numpy as np
import tensorflow as tf

from keras_xf.layers import VQ


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_codebook_has_the_gradient_of_its_own_loss():
    layer = VQ(5)
    layer.build((None, 3))
    inputs, mask = normal(4, 6, 3), normal(4, 6, seed=1) > -0.5
    indices = layer.encode(inputs, mask=mask).numpy()
    for jit_compile in (False, True):

        @tf.function(jit_compile=jit_compile)
        def gradient():
            with tf.GradientTape() as tape:
                layer(inputs, training=True, mask=mask)
                (loss,) = layer.losses
            return tape.gradient(loss, layer.trainable_weights[0].value)

        codes = layer.codebook.numpy()
        expected = np.zeros((1, 5, 3))
        for place in np.ndindex(4, 6):
            index = indices[place]
            if mask[place]:
                expected[0, index] += codes[index] - inputs[place]
        expected *= 2 / (mask.sum() * 3)
        assert np.any(expected)
        np.testing.assert_allclose(gradient(), expected, atol=1e-6)


def test_an_optimizer_moves_codes_to_their_vectors():
    layer = VQ(2)
    layer.set_codebook([[0, 0], [5, 5]])
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.SGD(0.3), "mse", jit_compile=False)
    vectors = np.array([[1, 2], [3, 0], [7, 7], [9, 5]], "float32")
    many = np.tile(vectors, (60, 1))
    model.fit(many, many, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(layer.codebook, [[2, 1], [8, 6]], atol=1e-2)


def test_replicas_train_the_same_codebook(strategy):
    arrays = normal(8, 3)
    codebooks = []
    for scope in (strategy.scope(), strategy.scope):
        is_distributed = not callable(scope)
        with scope if is_distributed else keras.name_scope("one"):
            layer = VQ(4)
            layer.build((None, 3))
            layer.set_codebook(normal(4, 3, seed=1))
            optimizer = keras.optimizers.SGD(0.1)
            optimizer.build(layer.trainable_variables)

        def step(inputs, replicas, layer=layer, optimizer=optimizer):
            with tf.GradientTape() as tape:
                layer(inputs, training=True)
                loss = layer.losses[0] / replicas
            weights = layer.trainable_variables
            gradients = tape.gradient(loss, [w.value for w in weights])
            optimizer.apply(gradients, weights)

        if is_distributed:
            halves = strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(
                    np.split(arrays, 2)[context.replica_id_in_sync_group]
                )
            )
            tf.function(strategy.run)(step, args=(halves, 2.0))
        else:
            step(arrays, 1.0)
        codebooks.append(layer.codebook.numpy())
    np.testing.assert_allclose(*codebooks, atol=1e-6)
    assert np.any(codebooks[0] != normal(4, 3, seed=1))

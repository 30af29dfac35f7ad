"""Tests of models of images and of codes, of batches without rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.losses import NormalizedMeanSquaredError
from tests.models.code_priors import make

SMALL = {
    "image_shape": (9, 6, 3),
    "num_codes": 4,
    "code_dim": 4,
    "hidden_dim": 4,
    "residual_dim": 2,
    "num_residual_blocks": 1,
}
MAKERS = {
    "one level": lambda: models.build_vq_vae(**SMALL),
    "two levels": lambda: models.build_vq_vae(**SMALL, num_levels=2),
    "pixel_cnn": lambda: make("build_pixel_cnn"),
    "code_transformer": lambda: make("build_code_transformer"),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_models_take_no_rows(maker):
    model = MAKERS[maker]()
    inputs = {
        name: tf.zeros((0, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in model.input.items()
    }

    @tf.function
    def step(inputs):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = sum(map(tf.reduce_sum, outputs.values()))
        return outputs, tape.gradient(loss, model.trainable_variables)

    outputs, gradients = step(inputs)
    for name, tensor in model.output.items():
        assert outputs[name].shape == (0, *tensor.shape[1:])
    for gradient in gradients:
        assert gradient is None or not np.any(gradient)


@pytest.mark.parametrize("num_levels", [1, 2])
def test_a_replica_may_have_none(num_levels, strategy):
    images = np.random.default_rng(0).random((5, 9, 6, 3), "float32")
    with strategy.scope():
        model = models.build_vq_vae(**SMALL, num_levels=num_levels)
        model.compile(
            "adam", NormalizedMeanSquaredError(0.1), jit_compile=False
        )
    data = tf.data.Dataset.from_tensor_slices(
        ({"images": images}, {"reconstruction": images})
    ).batch(4)
    # The last batch is one image for two replicas.
    history = model.fit(data, shuffle=False, verbose=0, epochs=2).history
    assert np.all(np.isfinite(history["loss"]))
    for variable in model.variables:
        assert np.all(np.isfinite(keras.ops.convert_to_numpy(variable)))

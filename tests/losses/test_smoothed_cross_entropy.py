"""Tests of keras_xf.losses.SmoothedCrossEntropy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.losses import SmoothedCrossEntropy


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 7, (3, 5)).astype("int32")
    logits = 3 * generator.normal(size=(3, 5, 7))
    return ids, logits.astype("float32")


def one_hot_losses(ids, logits, smoothing):
    """Keras's own, of distributions."""
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )
    return np.asarray(loss(np.eye(logits.shape[-1])[ids], logits))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_that_of_distributions(batch, smoothing, jit_compile):
    ids, logits = batch
    loss = SmoothedCrossEntropy(smoothing, reduction=None)
    compiled = tf.function(loss, jit_compile=jit_compile)
    expected = one_hot_losses(ids, logits, smoothing)
    np.testing.assert_allclose(compiled(ids, logits), expected, rtol=1e-5)
    # Labels as data pipelines may have them.
    found = loss(ids.astype("int64"), logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_equal_the_formula(batch, smoothing):
    ids, logits = batch
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = SmoothedCrossEntropy(smoothing, reduction="sum")(ids, logits)
    targets = (1 - smoothing) * np.eye(7)[ids] + smoothing / 7
    np.testing.assert_allclose(
        tape.gradient(losses, logits),
        tf.nn.softmax(logits) - targets,
        atol=1e-6,
    )


def test_padding_has_no_weight(batch):
    ids, logits = batch
    weights = np.array([[1, 1, 0, 0, 0], [1] * 5, [0] * 5], "float32")
    found = SmoothedCrossEntropy(0.1)(ids, logits, weights)
    expected = one_hot_losses(ids, logits, 0.1)[weights > 0].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_trains_a_model_and_has_a_config(batch):
    ids, _ = batch
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, keras.layers.Embedding(7, 7)(inputs))
    model.compile("adam", SmoothedCrossEntropy(0.3))
    first = model.evaluate(ids, ids, verbose=0)
    assert model.fit(ids, ids, verbose=0).history["loss"][0] == pytest.approx(
        first, rel=1e-5
    )
    config = keras.losses.serialize(SmoothedCrossEntropy(0.3))
    assert config["registered_name"] == "keras_xf>SmoothedCrossEntropy"
    assert keras.losses.deserialize(config).label_smoothing == 0.3


def test_rejects():
    with pytest.raises(ValueError) as error:
        SmoothedCrossEntropy(1.0)
    assert str(error.value) == (
        "`label_smoothing` must lie in [0, 1). Received: label_smoothing=1.0."
    )
    with pytest.raises(ValueError, match="`y_true` must have the shape"):
        SmoothedCrossEntropy()(np.zeros((2, 3, 1)), np.zeros((2, 3)))

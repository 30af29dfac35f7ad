"""Tests of keras_xf.metrics.BitsPerToken."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.metrics import BitsPerToken


def batch(width, seed):
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 7, (4, width))
    logits = 3 * generator.normal(size=(4, width, 7))
    weights = np.maximum(generator.uniform(-1, 1, (4, width)), 0)
    return targets, logits.astype("float32"), weights.astype("float32")


def bits_oracle(targets, logits):
    """`-log2 p` of each target, by the definition of the softmax."""
    powers = np.exp(logits.astype("float64"))
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, targets[..., None], axis=-1)
    return -np.log2(chosen[..., 0])


def test_equal_logits_cost_the_bits_of_the_vocabulary():
    metric = BitsPerToken()
    metric.update_state([[3, 1, 0]], np.zeros((1, 3, 8)))
    assert float(metric.result()) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_every_token_counts_with_its_weight_in_batches_of_any_width(
    jit_compile,
):
    metric = BitsPerToken()
    update = tf.function(metric.update_state, jit_compile=jit_compile)
    batches = [batch(width, seed=width) for width in (1, 5, 30)]
    for targets, logits, weights in batches:
        update(targets, logits, weights)
    bits = [bits_oracle(*batch[:2]).ravel() for batch in batches]
    weights = [weights.ravel() for _, _, weights in batches]
    expected = np.average(np.concatenate(bits), weights=np.concatenate(weights))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_weight_is_one_by_default():
    metric = BitsPerToken()
    batches = [batch(width, seed=width) for width in (1, 5, 30)]
    for targets, logits, _ in batches:
        metric.update_state(targets, logits)
    bits = [bits_oracle(*batch[:2]).ravel() for batch in batches]
    expected = np.concatenate(bits).mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("axes", [1, 2])
def test_weight_of_a_row_holds_for_its_tokens(axes):
    targets, logits, _ = batch(5, seed=0)
    weights = np.array([0.0, 1.0, 2.0, 0.5], "float32")
    metric = BitsPerToken()
    metric.update_state(
        targets, logits, weights if axes == 1 else weights[:, np.newaxis]
    )
    expected = np.average(bits_oracle(targets, logits).mean(1), weights=weights)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_mask_of_the_logits_multiplies_the_weights():
    targets, logits, weights = batch(5, seed=0)
    mask = np.arange(5) < np.array([[5], [1], [0], [3]])
    masked = tf.constant(logits)
    # As Keras's layers attach it.
    masked._keras_mask = tf.constant(mask)
    bits = bits_oracle(targets, logits)
    metric = BitsPerToken()
    metric.update_state(targets, masked)
    expected = np.average(bits, weights=mask)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    metric.update_state(targets, masked, weights)
    expected = np.average(bits, weights=mask * weights)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_without_weight_the_result_is_zero_until_reset():
    metric = BitsPerToken()
    targets, logits, weights = batch(5, seed=0)
    metric.update_state(targets, logits, 0 * weights)
    assert float(metric.result()) == 0
    metric.update_state(targets, logits)
    assert float(metric.result()) > 0
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_softmax_of_half_precision_logits_is_single_precision(dtype):
    targets, logits, _ = batch(30, seed=0)
    rounded = tf.cast(logits, dtype)
    metric = BitsPerToken()
    metric.update_state(targets, rounded)
    bits = bits_oracle(targets, tf.cast(rounded, "float64").numpy())
    # Half precision would be off by 1e-3 or more.
    assert float(metric.result()) == pytest.approx(bits.mean(), rel=1e-5)


def test_double_precision_is_kept():
    targets, logits, _ = batch(30, seed=0)
    metric = BitsPerToken(dtype="float64")
    metric.update_state(targets, logits.astype("float64"))
    expected = bits_oracle(targets, logits).mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_known_log_probabilities_count_likewise(jit_compile):
    metric = BitsPerToken()
    update = tf.function(metric.update_state_from_nats, jit_compile=jit_compile)
    batches = [batch(width, seed=width) for width in (1, 5, 30)]
    bits = [bits_oracle(*batch[:2]) for batch in batches]
    for of_batch, (_, _, weights) in zip(bits, batches, strict=True):
        update(tf.constant(np.log(2) * of_batch, "float32"), weights)
    expected = np.average(
        np.concatenate([of_batch.ravel() for of_batch in bits]),
        weights=np.concatenate([w.ravel() for _, _, w in batches]),
    )
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0
    metric.update_state_from_nats(np.log(2) * bits[1])
    metric.update_state_from_nats(np.log(2) * bits[2])
    expected = np.concatenate([of_batch.ravel() for of_batch in bits[1:]])
    assert float(metric.result()) == pytest.approx(expected.mean(), rel=1e-5)


def test_weights_of_known_log_probabilities_broadcast():
    nats = np.random.default_rng(0).uniform(0, 5, (4, 6))
    weights = np.array([[0.0], [1.0], [2.0], [0.5]])
    metric = BitsPerToken()
    metric.update_state_from_nats(nats, weights)
    expected = np.average(nats.mean(1) / np.log(2), weights=weights[:, 0])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_known_log_probabilities_are_summed_in_the_metrics_dtype():
    nats = tf.fill((100, 100), tf.constant(1.0, "bfloat16"))
    metric = BitsPerToken()
    # A sum in half precision would stop growing at 256.
    metric.update_state_from_nats(nats, tf.ones((100, 100), "bfloat16"))
    assert float(metric.count.value) == 10_000
    assert float(metric.result()) == pytest.approx(1 / np.log(2), rel=1e-6)


def make_model():
    token_ids = keras.Input((5,), dtype="int32", name="token_ids")
    x = keras.layers.Embedding(7, 4)(token_ids)
    logits = keras.layers.Dense(7, name="logits", dtype="float32")(x)
    return keras.Model({"token_ids": token_ids}, {"logits": logits})


def test_compiled_model_weights_it_and_callbacks_know_its_direction():
    keras.utils.set_random_seed(0)
    targets, _, weights = batch(5, seed=0)
    inputs = {"token_ids": targets}
    model = make_model()
    model.compile(
        optimizer="sgd",
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(True)},
        weighted_metrics={"logits": [BitsPerToken()]},
    )
    data = (inputs, {"logits": targets}, {"logits": weights})
    dataset = tf.data.Dataset.from_tensors(data)
    history = model.fit(
        dataset,
        validation_data=dataset,
        shuffle=False,
        verbose=0,
        # With `mode="auto"` this fails for a metric without a direction.
        callbacks=[keras.callbacks.EarlyStopping(monitor="val_bits_per_token")],
    )
    logits = np.asarray(model(inputs)["logits"])
    expected = np.average(bits_oracle(targets, logits), weights=weights)
    assert history.history["val_bits_per_token"] == [
        pytest.approx(expected, rel=1e-5)
    ]
    result = model.evaluate(dataset, verbose=0, return_dict=True)
    assert result["bits_per_token"] == pytest.approx(expected, rel=1e-5)


def test_config_round_trips():
    metric = BitsPerToken(name="bits", dtype="float64")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(metric)))
    assert config["registered_name"] == "keras_xf>BitsPerToken"
    revived = keras.saving.deserialize_keras_object(config)
    assert type(revived) is BitsPerToken
    assert revived.name == "bits"
    assert revived.dtype == "float64"
    assert revived.get_config() == metric.get_config()


def test_rejects_weights_with_too_many_axes():
    targets, logits, weights = batch(5, seed=0)
    with pytest.raises(ValueError) as error:
        BitsPerToken().update_state(targets, logits, weights[..., np.newaxis])
    assert str(error.value) == (
        "`sample_weight` must have the shape (batch, length) or (batch,). "
        "Received: shape=(4, 5, 1)."
    )

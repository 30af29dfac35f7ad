"""Tests of keras_xf.layers.GumbelSoftmax.

What every layer owes (configuration, saving, export, shapes, precision) is
tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import GumbelSoftmax


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def built(shape=(4, 5, 6), num_codes=7, **kwargs):
    layer = GumbelSoftmax(num_codes, **kwargs)
    layer.build(shape)
    return layer


def softmax(x):
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def logits_of(layer, inputs):
    return inputs @ layer.kernel.numpy() + layer.bias.numpy()


@pytest.mark.parametrize(
    "policy", ["float32", "float64", "mixed_float16", "mixed_bfloat16"]
)
def test_inference_takes_the_code_of_the_largest_logit(policy):
    layer = built(dtype=policy, return_indices=True)
    inputs = tf.cast(normal(4, 5, 6), layer.compute_dtype)
    expected = np.argmax(logits_of(layer, np.asarray(inputs, "float32")), -1)
    for call in (
        layer,
        tf.function(layer),
        tf.function(layer, jit_compile=True),
    ):
        outputs, indices = call(inputs)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_array_equal(
            outputs, layer.decode_from_indices(indices)
        )
    np.testing.assert_array_equal(layer.encode(inputs), expected)
    assert layer.codebook.dtype == "float32"
    assert np.min(layer.codebook) >= 0 and np.max(layer.codebook) < 1


def test_training_draws_codes_by_their_probabilities():
    layer = GumbelSoftmax(4, hard=True, return_indices=True, seed=3)
    layer.build((None, 2))
    layer.kernel.assign(np.zeros((2, 4)))
    layer.bias.assign([2, 1, 0, -1])
    inputs = np.zeros((100_000, 2), "float32")
    outputs, indices = layer(inputs, training=True)
    expected = softmax(np.array([2.0, 1, 0, -1])) * len(inputs)
    found = np.bincount(indices, minlength=4)
    # 16.3 is exceeded once in a thousand times, by three degrees of freedom.
    assert np.sum((found - expected) ** 2 / expected) < 16.3
    np.testing.assert_allclose(
        outputs, layer.decode_from_indices(indices), atol=1e-6
    )
    np.testing.assert_allclose(layer.usage(), 0.99 + 0.01 * found, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_shares_have_the_distribution_of_their_temperature(temperature):
    layer = GumbelSoftmax(2, temperature=temperature, seed=3)
    # A table that shows the shares.
    layer.set_codebook(np.eye(2))
    layer.kernel.assign(np.zeros((2, 2)))
    layer.bias.assign([0.8, 0])
    shares = np.sort(layer(np.zeros((20_000, 2)), training=True)[:, 0])
    # The difference of two such noises has the logistic distribution.
    logits = np.log(shares / np.maximum(1 - shares, 1e-7))
    levels = 1 / (1 + np.exp(0.8 - temperature * logits))
    expected = (np.arange(20_000) + 0.5) / 20_000
    # Kolmogorov's 1.95 is exceeded once in a thousand times.
    assert np.abs(levels - expected).max() < 1.95 / np.sqrt(20_000)


@pytest.mark.parametrize("logits", ["projection", "distance"])
def test_each_step_mixes_codes_by_its_own_temperature(logits):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0], [2.5, 0.4]
    )
    layer = built(num_codes=6, temperature=schedule, logits=logits, seed=1)
    plain = built(num_codes=6, temperature=1.0, logits=logits, seed=1)
    plain.set_weights(layer.get_weights())
    inputs = normal(4, 5, 6)
    for temperature in (2.5, 0.4):
        codes = layer.codebook.numpy()
        np.testing.assert_array_equal(plain.codebook, codes)
        # What both draw, plus the logits, but for what all codes share.
        shares = plain(inputs, training=True) @ np.linalg.inv(codes)
        expected = softmax(np.log(shares) / temperature) @ codes
        np.testing.assert_allclose(
            layer(inputs, training=True), expected, atol=1e-4
        )


@pytest.mark.parametrize("hard", [False, True])
def test_outputs_are_mixtures_or_codes_with_the_mixtures_gradient(hard):
    layer = built(hard=hard, temperature=0.7, seed=1)
    other = built(hard=False, temperature=0.7, seed=1)
    other.set_weights(layer.get_weights())
    inputs, factors = tf.constant(normal(4, 5, 6)), normal(4, 5, 6, seed=1)
    gradients = []
    for each in (layer, other):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = each(inputs, training=True)
            loss = tf.reduce_sum(outputs * factors)
        gradients.append(tape.gradient(loss, [inputs, layer.kernel.value]))
        if each is layer:
            codes = layer.codebook.numpy()
            distances = np.abs(outputs.numpy()[..., None, :] - codes).max(-1)
            are_codes = distances.min(-1) < 1e-6
            assert np.all(are_codes) if hard else not np.any(are_codes)
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], rtol=1e-5)
    assert np.any(gradients[0][0])


@pytest.mark.parametrize("how", ["freeze", "trainable"])
def test_what_comes_before_a_frozen_layer_learns(how):
    layer = built(num_codes=4, temperature=0.7, freeze=how == "freeze")
    layer.trainable = how == "freeze"
    inputs = tf.constant(normal(3, 5, 6))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        logits = inputs @ layer.kernel.value + layer.bias.value
        mixture = tf.nn.softmax(logits / 0.7) @ layer.codebook
        target = tf.constant(normal(3, 5, 6, seed=1))
        loss, expected = tf.reduce_sum(outputs * target), mixture * target
    np.testing.assert_array_equal(outputs, layer(inputs))
    np.testing.assert_allclose(
        tape.gradient(loss, inputs),
        tape.gradient(expected, inputs),
        atol=1e-5,
    )


def test_divergence_is_the_only_loss():
    inputs, mask = normal(4, 5, 6), normal(4, 5, seed=1) > 0
    layer = built(divergence=0.3)
    layer(inputs, mask=mask)
    p = softmax(logits_of(layer, inputs))[mask]
    rows = np.sum(p * np.log(p), axis=-1) + np.log(7)
    np.testing.assert_allclose(layer.losses, [0.3 * rows.mean()], rtol=1e-5)
    plain = built()
    plain(inputs, training=True)
    assert not plain.losses


def test_distances_choose_the_nearest_code_or_draw_it():
    layer = GumbelSoftmax(
        3, logits="distance", hard=True, return_indices=True, seed=1
    )
    codes = np.array([[0, 0], [1, 0], [0, 9]], "float32")
    layer.set_codebook(codes)
    assert [v.name for v in layer.trainable_weights] == ["codes"]
    inputs = np.full((20_000, 2), [0.4, 0], "float32")
    np.testing.assert_array_equal(layer.encode(inputs[:5]), np.zeros(5))
    outputs, indices = layer(inputs[:5])
    np.testing.assert_array_equal(outputs, codes[indices])
    _, indices = layer(inputs, training=True)
    p = np.exp([-0.16, -0.36])
    p /= p.sum()
    # Three standard deviations are 0.011.
    assert abs(np.mean(indices) - p[1]) < 0.011
    assert np.all(np.asarray(indices) < 2)


def test_distances_have_gradients_for_codes_and_inputs():
    layer = built(num_codes=3, logits="distance", temperature=0.7, seed=1)
    codes = normal(1, 3, 6, seed=2)
    inputs, factors = normal(2, 1, 6), normal(2, 1, 6, seed=1)

    def loss_at(inputs, codes):
        layer.codes.assign(codes)
        # So that each call draws the same.
        layer.steps.assign(0)
        return tf.reduce_sum(layer(inputs, training=True) * factors)

    variable = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = loss_at(variable, codes)
    of_inputs, of_codes = tape.gradient(loss, [variable, layer.codes.value])
    step, of_step = normal(1, 3, 6, seed=3), normal(2, 1, 6, seed=4)
    for gradient, of_codes_step, of_inputs_step in (
        (np.sum(of_codes * step), 1e-2 * step, 0),
        (np.sum(of_inputs * of_step), 0, 1e-2 * of_step),
    ):
        plus = loss_at(inputs + of_inputs_step, codes + of_codes_step)
        minus = loss_at(inputs - of_inputs_step, codes - of_codes_step)
        assert abs(gradient) > 0.1
        np.testing.assert_allclose((plus - minus) / 2e-2, gradient, rtol=1e-2)


def test_temperature_follows_its_schedule_to_the_least():
    schedule = keras.optimizers.schedules.ExponentialDecay(2.0, 1, 0.5)
    layer = built(temperature=schedule, min_temperature=0.3)
    found = []
    for _ in range(5):
        found.append(float(layer.current_temperature()))
        layer(normal(4, 5, 6), training=True)
        layer(normal(4, 5, 6))
    np.testing.assert_allclose(found, [2, 1, 0.5, 0.3, 0.3])
    again = GumbelSoftmax.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert float(again.current_temperature()) == 2


def test_masked_vectors_are_nothing():
    layer = built(return_indices=True, divergence=1.0, seed=1)
    inputs = normal(4, 5, 6)
    inputs[:, 3:] = np.nan
    mask = np.arange(5) < np.full((4, 1), 3)
    for training in (False, True):
        outputs, indices = layer(inputs, training=training, mask=mask)
        assert np.all(outputs[:, 3:] == 0) and np.all(indices[:, 3:] == -1)
        assert np.all(np.isfinite(outputs)) and np.all(indices[:, :3] >= 0)
        assert np.isfinite(layer.losses[0])
    np.testing.assert_allclose(
        np.sum(layer.usage()), 0.99 * 7 + 0.01 * 12, rtol=1e-6
    )
    before = [v.numpy() for v in (layer.counts, layer.codes)]
    for nothing in ({"mask": np.zeros((4, 5), "bool")}, {}):
        array = inputs if nothing else normal(0, 5, 6)
        layer(array, training=True, **nothing)
        assert layer.losses == [0]
    for variable, value in zip(
        (layer.counts, layer.codes), before, strict=True
    ):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_without_learning_nothing_is_drawn_or_changed():
    inputs = normal(4, 5, 6)
    frozen, fixed = built(freeze=True), built()
    fixed.trainable = False
    for layer in (frozen, fixed):
        before = [v.numpy() for v in layer.variables]
        expected = layer(inputs)
        np.testing.assert_array_equal(layer(inputs, training=True), expected)
        for variable, value in zip(layer.variables, before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
        assert not layer.trainable_weights


def test_replicas_draw_noise_of_their_own_and_count_together(strategy):
    with strategy.scope():
        layer = built((40, 6), return_indices=True, seed=1)
    inputs = normal(40, 6)

    def run():
        return layer(inputs, training=True)[1]

    indices = strategy.experimental_local_results(
        tf.function(strategy.run)(run)
    )
    assert np.any(indices[0] != indices[1])
    hits = np.bincount(np.concatenate(indices), minlength=7)
    np.testing.assert_allclose(layer.usage(), 0.99 + 0.01 * hits, rtol=1e-5)


def test_learns_to_send_what_it_is_given():
    keras.utils.set_random_seed(1)
    inputs = np.eye(4, dtype="float32")[np.arange(9600) % 4] * 3
    layer = GumbelSoftmax(
        8, temperature=0.7, divergence=0.1, seed=2, name="codes"
    )
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.03), "mse", jit_compile=False)
    history = model.fit(inputs, inputs, verbose=0).history
    error = np.mean((model(inputs) - inputs) ** 2)
    assert error < 0.2
    assert len(np.unique(layer.encode(inputs))) == 4
    assert "codes_perplexity" in history


def test_rejects_what_is_not_finite():
    layer = built()
    for function in (layer, layer.encode):
        with pytest.raises(ValueError, match="`inputs` must be finite"):
            function(np.full((1, 5, 6), np.inf, "float32"))

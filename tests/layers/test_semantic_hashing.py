"""Tests of keras_xf.layers.SemanticHashing.

What every layer owes (configuration, saving, export, shapes, precision,
gradients) is tested in tests/conformance; here is what only this layer does.
"""

import statistics

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import SemanticHashing

WITHOUT_NOISE = pytest.mark.filterwarnings("ignore:.*learns without noise")


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(64, 32, 8)).astype("float32")


def built(num_bits=16, dim=8, **kwargs):
    layer = SemanticHashing(num_bits, **kwargs)
    layer.build((None, None, dim))
    return layer


def logits_of(layer, vectors):
    return vectors @ layer.kernel.numpy() + layer.bias.numpy()


def read(layer, bits):
    return bits @ layer.ones.numpy() + (1 - bits) @ layer.zeros.numpy()


def soft(x):
    return np.clip(1.2 / (1 + np.exp(-x)) - 0.1, 0, 1)


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float32", 1e-5), ("mixed_float16", 5e-3), ("mixed_bfloat16", 4e-2)],
)
def test_inference_gives_the_sign_of_the_projection(vectors, policy, tolerance):
    layer = built(return_indices=True, dtype=policy)
    inputs = tf.cast(vectors, layer.compute_dtype)
    expected = logits_of(layer, np.asarray(inputs, "float32")) > 0

    def rows(inputs):
        return layer.decode_from_indices(layer.encode(inputs))

    for call, rows_of in (
        (layer, rows),
        (tf.function(layer), tf.function(rows)),
        # Their sums over bits may be in another order than TensorFlow's.
        (
            tf.function(layer, jit_compile=True),
            tf.function(rows, jit_compile=True),
        ),
    ):
        outputs, indices = call(inputs)
        np.testing.assert_array_equal(layer.unpack_indices(indices), expected)
        np.testing.assert_array_equal(rows_of(inputs), outputs)
        np.testing.assert_allclose(
            tf.cast(outputs, "float32"), read(layer, expected), atol=tolerance
        )
    np.testing.assert_array_equal(layer.encode(inputs), indices)
    np.testing.assert_array_equal(layer.pack_indices(expected), indices)


def test_training_sends_the_stated_fraction_of_examples_as_hard_bits():
    layer = built(hard_fraction=0.25, seed=1, dim=2, num_bits=2)
    # Tables that show the bits.
    layer.set_codebook([np.zeros((2, 2)), np.eye(2)])
    inputs = np.random.default_rng(0).normal(size=(4096, 5, 2))
    bits = np.asarray(layer(inputs, training=True))
    is_hard = np.all((bits == 0) | (bits == 1), axis=(1, 2))
    # Three standard deviations are 0.02.
    assert abs(is_hard.mean() - 0.25) < 0.022


@WITHOUT_NOISE
@pytest.mark.parametrize("hard_fraction", [0.0, 1.0])
def test_training_sends_hard_or_soft_bits_with_the_soft_gradient(
    vectors, hard_fraction
):
    layer = built(hard_fraction=hard_fraction, noise_stddev=0.0)
    logits = logits_of(layer, vectors)
    bits = (logits > 0).astype("f") if hard_fraction else soft(logits)
    with tf.GradientTape() as tape:
        outputs = layer(vectors, training=True)
        loss = tf.reduce_sum(outputs)
    np.testing.assert_allclose(outputs, read(layer, bits), atol=1e-5)
    share = 1 / (1 + np.exp(-logits))
    slope = np.where(np.abs(logits) < np.log(11), share * (1 - share), 0) * 1.2
    of_bits = np.sum(layer.ones.numpy() - layer.zeros.numpy(), axis=-1)
    expected = np.sum(slope * of_bits, axis=(0, 1))
    np.testing.assert_allclose(
        tape.gradient(loss, layer.bias.value), expected, rtol=1e-3, atol=1e-3
    )


@WITHOUT_NOISE
def test_noise_alone_changes_hard_bits_in_training(vectors):
    noisy = built(hard_fraction=1.0, seed=1)
    quiet = built(hard_fraction=1.0, noise_stddev=0.0)
    for layer, expect_equal in [(noisy, False), (quiet, True)]:
        inference = np.asarray(layer(vectors))
        training = np.asarray(layer(vectors, training=True))
        assert np.array_equal(inference, training) == expect_equal


def test_training_without_noise_warns(vectors):
    layer = built(2, 8, noise_stddev=0, name="bits")
    layer(vectors)
    with pytest.warns(UserWarning) as warned:
        layer(vectors, training=True)
    assert [str(each.message) for each in warned] == [
        "Layer bits learns without noise (noise_stddev=0): bits that have "
        "decided have no gradient of their own."
    ]
    built(2, 8, noise_stddev=0, freeze=True)(vectors, training=True)


@pytest.mark.parametrize("noise_stddev", [0.5, 1.0])
def test_noise_is_normal_and_not_truncated(noise_stddev):
    tail = 2.2 * noise_stddev
    logits = np.array([-tail, -0.8, 0, 0.8, tail], "float32")
    layer = built(
        5,
        2,
        hard_fraction=1.0,
        noise_stddev=noise_stddev,
        return_indices=True,
        seed=1,
    )
    layer.bias.assign(logits)
    inputs = np.zeros((50_000, 2), "float32")
    _, indices = layer(inputs, training=True)
    found = np.mean(layer.unpack_indices(indices), axis=0)
    normal = statistics.NormalDist(sigma=noise_stddev)
    expected = np.array([normal.cdf(float(logit)) for logit in logits])
    # On either side of the tails are 1.4 %, and of what is truncated none.
    deviation = np.sqrt(expected * (1 - expected) / len(inputs))
    assert np.all(np.abs(found - expected) < 4 * deviation)


def test_noise_does_not_depend_on_what_is_hard(vectors):
    outputs = []
    for fraction in (0.0, 1.0):
        layer = built(hard_fraction=fraction, seed=1, return_indices=True)
        layer.kernel.assign(np.eye(8, 16))
        outputs.append(layer(vectors, training=True)[1])
    np.testing.assert_array_equal(*outputs)


def test_hard_fraction_follows_its_schedule(vectors):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [0.0, 1.0]
    )
    layer = built(2, 8, hard_fraction=schedule, seed=1)
    layer.set_codebook([np.zeros((2, 8)), np.eye(2, 8)])
    found = []
    for _ in range(4):
        bits = np.asarray(layer(vectors, training=True))
        found.append(bool(np.all((bits == 0) | (bits == 1))))
    assert found == [False, False, True, True]


def test_masked_vectors_are_nothing(vectors):
    layer = built(return_indices=True, seed=1)
    inputs = vectors[:4, :5].copy()
    inputs[:, 3:] = np.nan
    mask = np.arange(5) < np.full((4, 1), 3)
    for training in (False, True):
        outputs, indices = layer(inputs, training=training, mask=mask)
        assert np.all(outputs[:, 3:] == 0) and np.all(indices[:, 3:] == -1)
        assert np.all(np.isfinite(outputs)) and np.all(indices[:, :3] >= 0)
    ones = np.mean(layer.unpack_indices(indices)[:, :3], axis=(0, 1))
    np.testing.assert_allclose(
        layer.usage(), 0.5 + 0.01 * (ones - 0.5), rtol=1e-5
    )
    decoded = layer.decode_from_indices(indices)
    assert np.all(decoded[:, 3:] == 0) and np.any(decoded[:, :3] != 0)
    before = layer.usage().numpy()
    layer(inputs, training=True, mask=np.zeros((4, 5), "bool"))
    layer(inputs[:0], training=True)
    np.testing.assert_array_equal(layer.usage(), before)


def test_without_learning_nothing_is_drawn_or_changed(vectors):
    frozen, fixed = built(freeze=True), built()
    fixed.trainable = False
    for layer in (frozen, fixed):
        before = [v.numpy() for v in layer.variables]
        expected = layer(vectors)
        np.testing.assert_array_equal(layer(vectors, training=True), expected)
        for variable, value in zip(layer.variables, before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
        assert not layer.trainable_weights


def test_tables_begin_differently():
    layer = built(codebook_initializer=keras.initializers.RandomNormal(seed=1))
    assert np.all(layer.ones.numpy() != layer.zeros.numpy())


def test_replicas_draw_noise_of_their_own_and_count_together(strategy, vectors):
    with strategy.scope():
        layer = built(return_indices=True, seed=1)

    def run():
        return layer(vectors, training=True)[1]

    indices = strategy.experimental_local_results(
        tf.function(strategy.run)(run)
    )
    assert np.any(indices[0] != indices[1])
    bits = [layer.unpack_indices(each) for each in indices]
    ones = np.mean(bits, axis=(0, 1, 2))
    np.testing.assert_allclose(
        layer.usage(), 0.5 + 0.01 * (ones - 0.5), rtol=1e-5
    )


@WITHOUT_NOISE
def test_metric_is_the_entropy_of_bits():
    layer = built(2, 2, noise_stddev=0.0, name="bits")
    layer.kernel.assign(np.eye(2))
    inputs = [[[1, 1], [-1, 1], [1, 1], [-1, 1]]]
    layer(np.array(inputs, "float32"), training=True)
    assert layer.bit_usage.name == "bits_bit_entropy"
    np.testing.assert_allclose(layer.bit_usage.result(), 0.5, rtol=1e-6)


@WITHOUT_NOISE
def test_combinations_of_bits_are_counted():
    layer = built(2, 2, noise_stddev=0.0, name="bits", return_indices=True)
    layer.kernel.assign(np.eye(2))
    inputs = np.array([[1, 1], [-1, 1], [1, 1], [1, -1]], "float32")
    mask = np.array([True, True, True, False])
    layer(inputs, training=True, mask=mask)
    usage = layer.joint_usage.result()
    assert usage["bits_joint_active_codes"] == 2
    p = np.array([2, 1]) / 3
    np.testing.assert_allclose(
        usage["bits_joint_perplexity"],
        np.exp(-np.sum(p * np.log(p))),
        rtol=1e-6,
    )
    np.testing.assert_array_equal(layer.joint_usage.hits, [0, 0, 1, 2])
    # A billion combinations are not counted.
    assert built(30, 2).joint_usage is None


def test_learns_to_send_what_it_is_given():
    keras.utils.set_random_seed(1)
    inputs = np.eye(4, dtype="float32")[np.arange(5120) % 4] * 3
    model = keras.Sequential(
        [
            keras.Input((4,)),
            SemanticHashing(3, seed=2),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dense(4),
        ]
    )
    model.compile(keras.optimizers.Adam(0.03), "mse", jit_compile=False)
    history = model.fit(inputs, inputs, verbose=0).history
    error = np.mean((model(inputs) - inputs) ** 2)
    assert error < 0.2
    assert len(np.unique(model.layers[0].encode(inputs))) == 4
    assert any(name.endswith("bit_entropy") for name in history)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bits": 0}, "`num_bits` must be positive. Received: num_bits=0."),
        (
            {"num_bits": 32},
            "`num_bits` must be 31 at most. Received: num_bits=32.",
        ),
        (
            {"num_bits": 4, "noise_stddev": -1.0},
            "`noise_stddev` must not be negative. Received: noise_stddev=-1.0.",
        ),
        (
            {"num_bits": 4, "hard_fraction": 1.5},
            "`hard_fraction` must lie in [0, 1]. Received: hard_fraction=1.5.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        SemanticHashing(**arguments)
    assert str(error.value) == message


def test_rejects_what_is_no_index_or_not_finite(vectors):
    layer = built(3)
    for index in (-2, 8):
        with pytest.raises(ValueError, match="`indices` must lie in"):
            layer.decode_from_indices(np.array([0, index]))
    with pytest.raises(ValueError, match="`inputs` must be finite"):
        layer(vectors * np.nan)
    with pytest.raises(ValueError, match="`codebook` must have the shape"):
        layer.set_codebook(np.zeros((2, 4, 8)))
    with pytest.raises(ValueError, match="must be built"):
        SemanticHashing(3).usage()

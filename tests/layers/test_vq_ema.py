"""Tests of keras_xf.layers.VQEMA."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import VQEMA
from keras_xf.layers import Restart

CODES = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32")
VECTORS = np.array(
    [[0.1, 0], [0.9, 0.2], [0.2, 0.9], [1.1, 0.8], [0.9, 1.2], [0, 0.2]],
    "float32",
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("ema_init", "losses", "codes"),
    [
        (
            "ones",
            [0.005208, 0.004640],
            [
                [0.015966, 0.031933],
                [0.980999, 0.038],
                [0.038, 0.980999],
                [1.000001, 1.000001],
            ],
        ),
        (
            "zero_debias",
            [0.005208, 0.002604],
            [
                [0.05, 0.1],
                [0.899997, 0.199999],
                [0.199999, 0.899997],
                [1.000002, 1.000002],
            ],
        ),
    ],
)
def test_golden_steps(ema_init, losses, codes):
    layer = VQEMA(4, decay=0.9, ema_init=ema_init, return_indices=True)
    layer.set_codebook(CODES)
    for expected in losses:
        before = layer.codebook.numpy()
        outputs, indices = layer(VECTORS, training=True)
        np.testing.assert_array_equal(indices, [0, 1, 2, 3, 3, 0])
        # Of the codebook before the step.
        np.testing.assert_array_equal(outputs, before[indices])
        np.testing.assert_allclose(layer.losses, [expected], atol=5e-7)
    np.testing.assert_allclose(layer.codebook, codes, atol=1e-6)
    np.testing.assert_allclose(
        layer.code_usage.result()[f"{layer.name}_perplexity"],
        3.779763,
        rtol=1e-6,
    )
    expected = [1.19, 1, 1, 1.19] if ema_init == "ones" else [2, 1, 1, 2]
    np.testing.assert_allclose(layer.usage(), expected, rtol=1e-6)


def test_dead_codes_begin_again_from_vectors_of_the_batch():
    layer = VQEMA(8, decay=0.9, restart=Restart(threshold=1.0), seed=1)
    far = np.full((8, 3), 1000, "float32") + np.arange(8)[:, None]
    far[2] = 0
    layer.set_codebook(far)
    inputs = normal(40, 3)
    layer(inputs, training=True)
    codes = layer.codebook.numpy()
    restarted = np.arange(8) != 2
    rows = {tuple(row) for row in inputs}
    assert {tuple(code) for code in codes[restarted]} <= rows
    assert len(np.unique(codes, axis=0)) == 8
    assert tuple(codes[2]) not in rows
    np.testing.assert_allclose(layer.usage()[restarted], 40 / 8)
    # The averages belong to the new codes: without a hit they stay.
    layer(np.full((5, 3), -50, "float32"), training=True)
    moved = np.any(np.abs(layer.codebook - codes) > 1e-4, axis=-1)
    assert moved.sum() <= 1


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"every": 3}, [3, 6]),
        ({"warmup": 2}, [3, 4, 5, 6]),
        ({"every": 2, "warmup": 3}, [4, 6]),
    ],
)
def test_restarts_are_made_when_they_are_due(options, steps):
    # With a threshold that no code reaches all begin again, if any.
    layer = VQEMA(3, restart=Restart(threshold=1e6, **options), seed=1)
    layer.set_codebook(normal(3, 2, seed=1))
    found = []
    for step in range(1, 7):
        inputs = normal(10, 2, seed=step)
        layer(inputs, training=True)
        rows = {tuple(row) for row in inputs}
        if {tuple(code) for code in layer.codebook.numpy()} <= rows:
            found.append(step)
    assert found == steps


def test_a_code_that_begins_again_has_349_steps_to_be_hit():
    layer = VQEMA(4, restart=Restart(fraction=0.03), seed=1)
    layer.set_codebook([[0, 0], [1, 0], [0, 1], [-900, 0]])
    layer.counts.assign([[1, 1, 1, 0]])
    far = 100 + normal(8, 2)
    layer(far, training=True)
    start = layer.codebook[3].numpy()
    assert tuple(start) in {tuple(row) for row in far}
    # The others are hit where they are.
    inputs = tf.constant(np.tile(layer.codebook[:3], (4, 1))[:8])
    step = tf.function(layer)
    for _ in range(348):
        step(inputs, training=True)
    # 2 hits, the mean of all, times 0.99**348 are above 0.03 times 2.
    np.testing.assert_allclose(layer.codebook[3], start, rtol=1e-3)
    step(inputs, training=True)
    assert tuple(layer.codebook[3].numpy()) in {
        tuple(row) for row in inputs.numpy()
    }


@pytest.mark.parametrize("ema_init", ["ones", "zero_debias"])
def test_a_code_in_use_is_left_alone(ema_init):
    restart = Restart(fraction=0.03)
    with_restart = VQEMA(4, ema_init=ema_init, restart=restart)
    without = VQEMA(4, ema_init=ema_init)
    for layer in (with_restart, without):
        layer.set_codebook(CODES)
        for _ in range(3):
            layer(VECTORS, training=True)
    np.testing.assert_array_equal(with_restart.codebook, without.codebook)


def test_an_unused_code_keeps_its_place_for_long():
    layer = VQEMA(2, decay=0.9)
    layer.set_codebook([[0, 0], [30, 40]])
    layer(normal(50, 2), training=True)
    np.testing.assert_allclose(layer.codebook[1], [30, 40], rtol=1e-4)


def test_keep_unhit_keeps_what_falls_to_the_origin_otherwise():
    for keep_unhit, expected in ((False, [0, 0]), (True, [30, 40])):
        layer = VQEMA(2, ema_init="zero_debias", keep_unhit=keep_unhit)
        layer.set_codebook([[0, 0], [30, 40]])
        layer(normal(50, 2), training=True)
        np.testing.assert_array_equal(layer.codebook[1], expected)


def test_first_codes_are_as_wide_as_promised():
    layer = VQEMA(1000)
    layer.build((None, 12))
    codes = layer.codebook.numpy()
    assert 0.495 < np.abs(codes).max() <= 0.5
    np.testing.assert_allclose(codes.std(), 1 / np.sqrt(12), rtol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"fraction": 0.1, "threshold": 1.0},
            "`fraction` must be None where a `threshold` is given. "
            "Received: fraction=0.1, threshold=1.0.",
        ),
        (
            {"fraction": 1.0},
            "`fraction` must lie in (0, 1). Received: fraction=1.0.",
        ),
        (
            {"threshold": 0.0},
            "`threshold` must be positive. Received: threshold=0.0.",
        ),
        (
            {"threshold": math.inf},
            "`threshold` must be finite. Received: threshold=inf.",
        ),
        (
            {"fraction": "0.1"},
            "`fraction` must be a number. Received: fraction='0.1'.",
        ),
        ({"every": 0}, "`every` must be positive. Received: every=0."),
        (
            {"warmup": -1},
            "`warmup` must not be negative. Received: warmup=-1.",
        ),
    ],
)
def test_restart_rejects(options, message):
    with pytest.raises(ValueError) as error:
        Restart(**options)
    assert str(error.value) == message


def test_samples_share_a_vector():
    layer = VQEMA(3, samples=4, decay=0.5, seed=1, return_indices=True)
    codes = np.array([[0, 0], [1, 0], [0, 9]], "float32")
    layer.set_codebook(codes)
    inputs = np.full((2000, 2), [0.4, 0], "float32")
    outputs, indices = layer(inputs, training=True)
    # Quarters of the way between the two that are near.
    shares = np.unique(outputs[:, 0])
    np.testing.assert_allclose(shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(outputs[:, 1], np.zeros(2000))
    np.testing.assert_array_equal(indices, np.zeros(2000))
    p = np.exp([-0.16, -0.36])
    p /= p.sum()
    assert abs(np.mean(outputs[:, 0]) - p[1]) < 0.03
    hits = 2 * layer.usage() - 1
    np.testing.assert_allclose(
        hits, [2000 - hits[1], 2000 * np.mean(outputs[:, 0]), 0], rtol=1e-4
    )
    # What has been hit moves to the vectors, and the rest stays.
    np.testing.assert_allclose(layer.codebook[:2], inputs[:2], atol=2e-3)
    np.testing.assert_allclose(layer.codebook[2], codes[2], rtol=1e-4)
    loss = 0.25 * np.mean((outputs - inputs) ** 2)
    np.testing.assert_allclose(layer.losses, [loss], rtol=1e-5)


def test_samples_are_others_in_each_step_and_none_in_inference():
    layer = VQEMA(5, samples=1, seed=1, decay=0.999999)
    layer.set_codebook(0.1 * normal(5, 2))
    inputs = normal(50, 2)
    first, second = (layer(inputs, training=True) for _ in range(2))
    assert np.any(np.abs(first - second) > 1e-3)
    np.testing.assert_array_equal(
        layer(inputs), layer.decode_from_indices(layer.encode(inputs))
    )


def test_codes_do_not_begin_again_from_what_is_not_finite():
    layer = VQEMA(3, restart=Restart(threshold=1e6), seed=1)
    inputs = normal(20, 2)
    layer(inputs, training=True)
    before = [v.numpy() for v in layer.weights]
    inputs[:, 0] = np.inf
    tf.function(layer)(tf.constant(inputs), training=True)
    for variable, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)


def test_each_restart_draws_other_vectors():
    layer = VQEMA(3, restart=Restart(threshold=1e6), seed=1)
    inputs = normal(200, 2)
    found = []
    for _ in range(2):
        layer(inputs, training=True)
        found.append(layer.codebook.numpy())
    assert np.all(found[0] != found[1])

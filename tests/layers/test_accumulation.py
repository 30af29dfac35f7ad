"""Codebooks whose statistics are summed up over several calls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import DVQ
from keras_xf.layers import VQEMA
from keras_xf.layers import Restart

MAKERS = {
    "VQEMA": lambda **kwargs: VQEMA(6, **kwargs),
    "VQEMA, zeros": lambda **kwargs: VQEMA(
        6, ema_init="zero_debias", keep_unhit=True, **kwargs
    ),
    "DVQ": lambda **kwargs: DVQ(6, **kwargs),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def pair(make):
    whole, parts = make(decay=0.8), make(decay=0.8, accumulation_steps=3)
    for layer in (whole, parts):
        layer.build((None, 4))
        layer.set_codebook(normal(*layer.codebook.shape))
    return whole, parts


def assert_same(parts, whole, atol=1e-6):
    for variable in whole.weights:
        (other,) = (v for v in parts.weights if v.name == variable.name)
        np.testing.assert_allclose(
            other.numpy(), variable.numpy(), atol=atol, err_msg=variable.path
        )


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("jit_compile", [None, True])
def test_calls_together_are_one_step_of_all_their_vectors(maker, jit_compile):
    whole, parts = pair(MAKERS[maker])
    call = parts
    if jit_compile is not None:
        call = tf.function(parts, jit_compile=jit_compile)
    for step in range(2):
        inputs = normal(30, 4, seed=step)
        before = parts.codebook.numpy()
        for calls, some in enumerate(np.split(inputs, 3)):
            # All see the codebook of before the step.
            np.testing.assert_array_equal(parts.codebook, before)
            assert parts.calls.numpy() == calls
            call(tf.constant(some), training=True)
        whole(inputs, training=True)
        assert np.any(parts.codebook != before)
        assert_same(parts, whole)


def test_a_call_of_nothing_is_a_call():
    whole, parts = pair(MAKERS["VQEMA"])
    inputs = normal(10, 4)
    whole(inputs, training=True)
    call = tf.function(parts)
    call(tf.constant(inputs), training=True)
    call(tf.constant(inputs * np.nan), training=True)
    call(tf.constant(inputs[:0]), training=True)
    assert_same(parts, whole)
    # Of three of them nothing comes.
    for _ in range(3):
        call(tf.constant(inputs[:0]), training=True)
    assert_same(parts, whole)


def test_another_codebook_forgets_what_was_held():
    whole, parts = pair(MAKERS["VQEMA"])
    parts(normal(10, 4), training=True)
    codes = normal(6, 4, seed=3)
    for layer in (whole, parts):
        layer.set_codebook(codes)
    inputs = normal(30, 4, seed=4)
    whole(inputs, training=True)
    for some in np.split(inputs, 3):
        parts(some, training=True)
    assert_same(parts, whole)


def test_codes_begin_again_when_a_step_is_due():
    restart = Restart(threshold=1e6)
    layer = VQEMA(3, accumulation_steps=2, restart=restart, seed=1)
    layer.build((None, 4))
    first, last = normal(10, 4), normal(10, 4, seed=1)
    before = layer.codebook.numpy()
    layer(first, training=True)
    np.testing.assert_array_equal(layer.codebook, before)
    layer(last, training=True)
    rows = {tuple(row) for row in last}
    assert {tuple(code) for code in layer.codebook.numpy()} <= rows
    # The mean of both calls' hits.
    np.testing.assert_allclose(layer.usage(), 20 / 3, rtol=1e-6)
    # Not from what is not finite, though the step is due.
    layer(first, training=True)
    last[:, 0] = np.inf
    tf.function(layer)(tf.constant(last), training=True)
    assert np.all(np.isfinite(layer.codebook))


def test_draws_differ_from_call_to_call():
    layer = VQEMA(6, accumulation_steps=3, samples=1, seed=1)
    layer.set_codebook(0.1 * normal(6, 4))
    inputs = normal(50, 4)
    first, second = (layer(inputs, training=True) for _ in range(2))
    assert np.any(np.abs(first - second) > 1e-3)


def test_it_goes_with_the_optimizers_accumulation():
    def new_model(accumulation_steps):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(4, kernel_initializer="identity"),
                VQEMA(6, decay=0.8, accumulation_steps=accumulation_steps),
            ]
        )
        model.layers[-1].set_codebook(normal(6, 4))
        steps = accumulation_steps if accumulation_steps > 1 else None
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=steps)
        model.compile(optimizer, "mse", jit_compile=False)
        return model

    whole, parts = new_model(1), new_model(2)
    inputs = normal(40, 4)
    for model, batch_size in ((whole, 20), (parts, 10)):
        model.fit(
            inputs, inputs, batch_size=batch_size, shuffle=False, verbose=0
        )
    assert_same(parts.layers[-1], whole.layers[-1], atol=1e-5)
    np.testing.assert_allclose(
        parts.layers[0].kernel.numpy(),
        whole.layers[0].kernel.numpy(),
        atol=1e-5,
    )

"""Tests of keras_xf.ops.dropout."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops.dropout import drop


@pytest.mark.parametrize("jit_compile", [None, False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_drops_a_fraction_and_keeps_the_mean(dtype, jit_compile):
    generator = keras.random.SeedGenerator(3)
    x = tf.ones((200, 300), dtype)

    def function(x):
        return drop(x, 0.25, generator)

    if jit_compile is not None:
        function = tf.function(function, jit_compile=jit_compile)
    outputs = function(x)
    assert outputs.dtype == x.dtype
    values = np.asarray(tf.cast(outputs, "float64"))
    np.testing.assert_allclose(np.unique(values), [0, 4 / 3], rtol=5e-3)
    # 0.25 and five standard errors of 60,000 draws.
    assert abs(np.mean(values == 0) - 0.25) < 0.009
    assert np.any(values != np.asarray(tf.cast(function(x), "float64")))


def test_eager_graph_and_compiled_drop_the_same():
    x = tf.random.stateless_normal((20, 30), (1, 2))
    results = []
    for wrap in (
        lambda f: f,
        tf.function,
        lambda f: tf.function(f, jit_compile=True),
    ):
        generator = keras.random.SeedGenerator(3)
        results.append(wrap(lambda x, g=generator: drop(x, 0.5, g))(x))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_gradient_is_that_of_what_is_kept():
    generator = keras.random.SeedGenerator(3)
    x = tf.ones((10, 10))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = drop(x, 0.5, generator)
    np.testing.assert_array_equal(tape.gradient(outputs, x), outputs)


def test_a_rate_of_one_is_refused():
    with pytest.raises(ValueError) as error:
        drop(tf.ones(3), 1.0, keras.random.SeedGenerator(0))
    assert str(error.value) == "`rate` must lie in [0, 1). Received: rate=1.0."

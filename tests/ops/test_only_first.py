"""Gradients of which no gradients can be taken."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops.only_first import only_first


@tf.custom_gradient
def triple(x, scale):
    """`3 x`, with gradients that know nothing of what they hang on."""
    outputs = 3 * tf.stop_gradient(x)

    def gradient(upstream):
        (upstream,) = only_first([upstream], [x, scale], "no more than one.")
        return 3 * upstream, None

    return outputs, gradient


def first(x, scale):
    with tf.GradientTape() as tape:
        tape.watch(x)
        # Linear: what comes from above does not depend on `x` either.
        outputs = triple(x, scale)
    return tape.gradient(outputs, x)


@pytest.mark.parametrize("compiled", [None, False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_one_gradient_is_given_and_the_next_refused(compiled, place):
    def second(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            gradient = first(*tensors)
        return tape.gradient(gradient, tensors[place])

    once = first
    if compiled is not None:
        once, second = (
            tf.function(function, jit_compile=compiled, autograph=False)
            for function in (first, second)
        )
    tensors = tf.constant([1.0, 2.0]), tf.constant(2.0)
    np.testing.assert_array_equal(once(*tensors), [3, 3])
    with pytest.raises(LookupError, match=r"no more than one\."):
        second(*tensors)

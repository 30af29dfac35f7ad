"""Tests of keras_xf.ops.shared_function."""

import gc
import weakref

import tensorflow as tf

from keras_xf.ops.shared_function import shared_function


def test_calls_of_a_graph_share_a_trace_and_have_gradients():
    traces = []

    def cube(x, factor):
        traces.append(factor)
        return factor * x**3

    def function(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = shared_function(cube)(x, 2.0)
            y = shared_function(cube)(y, 2.0) + shared_function(cube)(y, 3.0)
        return y, tape.gradient(y, x)

    for compiled in (False, True):
        traces.clear()
        y, gradient = tf.function(function, jit_compile=compiled)(
            tf.constant(1.0)
        )
        assert traces == [2.0, 3.0]
        # 5 (2 x^3)^3 and its derivative.
        assert (y, gradient) == (40.0, 360.0)


def test_another_graph_has_its_own_and_frees_it():
    traces = []

    def double(x):
        traces.append(1)
        return 2 * x

    outer = tf.function(lambda x: shared_function(double)(x))
    graph = weakref.ref(outer.get_concrete_function(tf.zeros(2)).graph)
    outer.get_concrete_function(tf.zeros(3))
    assert len(traces) == 2
    assert graph() is not None
    del outer
    gc.collect()
    assert graph() is None

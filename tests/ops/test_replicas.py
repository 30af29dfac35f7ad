"""Tests of keras_xf.ops.replicas."""

import numpy as np
import tensorflow as tf

from keras_xf.ops import replicas


def test_replicas_get_the_sum_of_all(strategy):
    def run():
        number, count = replicas.replica_number()
        number = tf.cast(number, "float32")
        assert count == 2
        return replicas.sum_over_replicas((number + 1, [10 * number]))

    one, [ten] = tf.function(strategy.run)(run)
    for value, expected in ((one, 3), (ten, 10)):
        values = strategy.experimental_local_results(value)
        np.testing.assert_array_equal(values, [expected] * 2)


def test_one_replica_is_its_own_sum(strategy):
    x = tf.constant([1.0, 2.0])
    assert replicas.sum_over_replicas(x) is x
    assert replicas.replica_number() == (0, 1)
    with strategy.scope():
        assert replicas.sum_over_replicas(x) is x

"""Tests of keras_xf.metrics.BitUsage."""

import math

import numpy as np

from keras_xf.metrics import BitUsage


def test_result_is_the_mean_entropy_of_all_vectors():
    usage = BitUsage(num_bits=3)
    assert usage.result() == 0
    usage.update_state([0, 2, 1], 4)
    usage.update_state([0, 2, 1], 4)
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    np.testing.assert_allclose(usage.result(), (1 + quarter) / 3, rtol=1e-6)
    usage.reset_state()
    assert usage.result() == 0


def test_running_shares_stand_in_after_a_reset():
    shares = np.array([0.5, 0.0], "float32")
    usage = BitUsage(num_bits=2, running=lambda: shares)
    np.testing.assert_allclose(usage.result(), 0.5, rtol=1e-6)
    usage.update_state([3, 3], 6)
    np.testing.assert_allclose(usage.result(), 1, rtol=1e-6)
    usage.reset_state()
    np.testing.assert_allclose(usage.result(), 0.5, rtol=1e-6)

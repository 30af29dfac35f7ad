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

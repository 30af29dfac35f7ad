"""Tests of keras_xf.metrics.JointUsage."""

import numpy as np

from keras_xf.metrics import JointUsage


def test_results_are_those_of_all_hits():
    usage = JointUsage(num_codes=5, prefix="codes_")
    usage.update_state([1, 0, 0, 3, 0])
    usage.update_state([1, 0, 2, 0, 0])
    p = np.array([2, 2, 3]) / 7
    result = usage.result()
    assert set(result) == {"codes_joint_perplexity", "codes_joint_active_codes"}
    assert result["codes_joint_active_codes"] == 3
    np.testing.assert_allclose(
        result["codes_joint_perplexity"],
        np.exp(-np.sum(p * np.log(p))),
        rtol=1e-6,
    )
    usage.reset_state()
    assert all(np.isnan(value) for value in usage.result().values())

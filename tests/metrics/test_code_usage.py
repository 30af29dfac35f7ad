"""Tests of keras_xf.metrics.CodeUsage."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.metrics import CodeUsage


def test_results_are_those_of_all_hits():
    usage = CodeUsage(parts=2, num_codes=4, prefix="codes_")
    usage.update_state([[100, 100, 0, 0], [50, 50, 50, 50]])
    usage.update_state([[100, 100, 1, 0], [50, 50, 50, 50]])
    p = np.array([200, 200, 1]) / 401
    skewed = np.exp(-np.sum(p * np.log(p)))
    expected = {
        "codes_perplexity": (skewed + 4) / 2,
        "codes_smallest_perplexity": skewed,
        "codes_active_codes": 3.5,
        "codes_dead_fraction": 0.25,
    }
    result = usage.result()
    assert set(result) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=1e-5)


def test_running_counts_say_what_is_dead_and_stand_in_after_a_reset():
    # Two that nothing has hit for long.
    running = np.array([[1, 1, 1e-3, 1e-3]], "float32")
    usage = CodeUsage(parts=1, num_codes=4, running=lambda: running)
    np.testing.assert_allclose(usage.result()["perplexity"], 2, rtol=2e-2)
    usage.update_state([[1, 1, 1, 1]])
    result = usage.result()
    np.testing.assert_allclose(result["perplexity"], 4, rtol=1e-5)
    p = running[0] / running.sum()
    expected = np.exp(-np.sum(p * np.log(p)))
    np.testing.assert_allclose(
        result["running_perplexity"], expected, rtol=1e-5
    )
    assert result["dead_fraction"] == 0.5
    assert "smallest_perplexity" not in result
    usage.reset_state()
    assert usage.result()["active_codes"] == 2


@pytest.mark.parametrize("running", [None, lambda: np.zeros((1, 4), "float32")])
def test_without_any_hit_nothing_is_nan(running):
    usage = CodeUsage(parts=1, num_codes=4, running=running)
    assert all(np.isfinite(value) for value in usage.result().values())


def test_replicas_count_together(strategy):
    with strategy.scope():
        usage = CodeUsage(parts=1, num_codes=2)

    def run():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        usage.update_state(tf.one_hot([number], 2))

    tf.function(strategy.run)(run)
    assert usage.result()["active_codes"] == 2

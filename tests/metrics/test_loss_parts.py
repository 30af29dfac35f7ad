"""Tests of keras_xf.metrics.LossParts."""

import numpy as np
import tensorflow as tf

from keras_xf.metrics import LossParts


def test_results_are_means_over_vectors():
    parts = LossParts(["codebook", "commitment"], prefix="codes_")
    parts.update_state({"commitment": 1.0, "codebook": 2.0}, 3)
    parts.update_state({"commitment": 3.0, "codebook": 6.0}, 1)
    # Of nothing.
    parts.update_state({"commitment": 0.0, "codebook": 0.0}, 0)
    result = parts.result()
    assert list(result) == ["codes_codebook", "codes_commitment"]
    np.testing.assert_allclose(result["codes_commitment"], 1.5)
    np.testing.assert_allclose(result["codes_codebook"], 3)
    parts.reset_state()
    assert all(np.isnan(value) for value in parts.result().values())


def test_replicas_count_together(strategy):
    with strategy.scope():
        parts = LossParts(["commitment"])

    def run():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        loss = tf.cast(number, "float32")
        parts.update_state({"commitment": loss}, 1 + 2 * number)

    tf.function(strategy.run)(run)
    np.testing.assert_allclose(parts.result()["commitment"], 3 / 4)

"""Tests of keras_xf.constraints.Simplex."""

import keras
import numpy as np
import pytest

from keras_xf.constraints import Simplex
from keras_xf.ops import simplex


@pytest.mark.parametrize("min_weight", [0.0, 0.1])
def test_weights_stay_on_the_simplex_under_an_optimizer(min_weight):
    generator = np.random.default_rng(0)
    weights = keras.Variable(np.full(6, 1 / 6), dtype="float32")
    weights.constraint = Simplex(min_weight)
    optimizer = keras.optimizers.Adam(0.1)
    seen = []
    for _ in range(50):
        gradient = generator.normal(size=6).astype("float32")
        optimizer.apply([gradient], [weights])
        seen.append(np.asarray(weights))
    np.testing.assert_allclose(np.sum(seen, axis=-1), 1, atol=1e-6)
    assert np.min(seen) >= min_weight - 1e-7
    assert np.ptp(seen, axis=0).max() > 0.1


def test_is_the_projection_and_has_a_config():
    constraint = Simplex(min_weight=0.05)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    config = keras.constraints.serialize(constraint)
    assert config["registered_name"] == "keras_xf>Simplex"
    for each in (constraint, keras.constraints.deserialize(config)):
        np.testing.assert_array_equal(each(x), simplex.project(x, 0.05))


def test_rejects_a_negative_smallest_weight():
    with pytest.raises(ValueError) as error:
        Simplex(-0.1)
    assert str(error.value) == (
        "`min_weight` must not be negative. Received: min_weight=-0.1."
    )

"""Tests of keras_xf.ops.target_platform."""

import pytest
import tensorflow as tf

from keras_xf.ops.target_platform import lowering_for
from keras_xf.ops.target_platform import target_platform


@pytest.mark.parametrize(("num_gpus", "platform"), [(0, "CPU"), (2, "GPU")])
def test_it_is_what_tensorflow_may_use(num_gpus, platform, monkeypatch):
    monkeypatch.setattr(
        tf.config, "get_visible_devices", lambda kind: [kind] * num_gpus
    )
    assert target_platform() == platform


def test_it_is_what_is_said_around_it():
    before = target_platform()
    with lowering_for("GPU"):
        assert target_platform() == "GPU"
        with lowering_for("CPU"):
            assert target_platform() == "CPU"
        assert target_platform() == "GPU"
        with pytest.raises(RuntimeError), lowering_for("CPU"):
            raise RuntimeError
        assert target_platform() == "GPU"
    assert target_platform() == before


def test_an_unknown_platform_is_refused():
    with pytest.raises(ValueError) as error, lowering_for("TPU"):
        pass
    assert str(error.value) == (
        "`platform` must be one of ('CPU', 'GPU'). Received: platform='TPU'."
    )

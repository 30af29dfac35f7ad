"""Settings that must be made before TensorFlow starts, and its replicas."""

import os

# Log lines of TensorFlow's start would bury the tests' own.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

# Two devices on any machine, for the tests of replicas.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.fixture(scope="session")
def strategy():
    """Replicas on both devices.

    Without collective operations, whose keys, and the shapes that belong to
    them, the next strategy of the process on the same devices would repeat.
    """
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )

"""What has to be settled before a model is made: seeds, devices, precision."""

import contextlib
import re
from collections.abc import Iterator

import keras
import tensorflow as tf
from absl import logging

from apps.training.options import TrainingOptions
from keras_xf.checks import check


def prepare(options: TrainingOptions) -> None:
    """Sets seeds, determinism and logical devices.

    `fit` calls it. A program that runs TensorFlow operations before that calls
    it first, since devices cannot be changed afterwards.

    Determinism cannot be turned off again in the same process, and while it is
    on, Keras uses no XLA. With `--jit_compile=on` it therefore stays off: XLA
    on CPU repeats bitwise by itself. On GPU it does not, so both together are
    refused there.

    Raises:
        ValueError: If there are no such devices, or they were set up before.
    """
    _make_logical_cpus(options.devices)
    keras.utils.set_random_seed(options.seed)
    if not options.deterministic:
        return
    if options.jit_compile == "on":
        check(
            not tf.config.list_physical_devices("GPU"),
            "`deterministic` must be off where `jit_compile` is on and there "
            "are GPUs.",
            deterministic=options.deterministic,
            jit_compile=options.jit_compile,
        )
        return
    tf.config.experimental.enable_op_determinism()


def make_strategy(options: TrainingOptions) -> tf.distribute.Strategy | None:
    """Makes the strategy that the options ask for.

    Raises:
        ValueError: If the replicas cannot share a batch evenly.
    """
    if options.strategy == "none":
        return None
    known = [
        device.name.removeprefix("/device:").lower()
        for kind in ("GPU", "CPU")
        for device in tf.config.list_logical_devices(kind)
    ]
    check(
        all(device in known for device in options.devices),
        f"`devices` must be among {known}.",
        devices=options.devices,
    )
    strategy = tf.distribute.MirroredStrategy(list(options.devices) or None)
    check(
        options.batch_size % strategy.num_replicas_in_sync == 0,
        "`batch_size` must be divisible by the number of devices.",
        batch_size=options.batch_size,
        devices=strategy.num_replicas_in_sync,
    )
    logging.info("%d devices", strategy.num_replicas_in_sync)
    return strategy


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers that are made inside have this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _make_logical_cpus(devices):
    """Splits the CPU in as many as are named: `cpu:1` is the second."""
    # Whether there is such a device, `make_strategy` sees.
    check(
        all(re.fullmatch("[a-z]+:[0-9]{1,3}", device) for device in devices),
        "`devices` must be kinds and numbers, such as gpu:0 or cpu:1.",
        devices=devices,
    )
    check(
        len(set(devices)) == len(devices),
        "`devices` must not name a device twice.",
        devices=devices,
    )
    numbers = [int(d.partition(":")[2]) for d in devices if d[:3] == "cpu"]
    count = max(numbers, default=0) + 1
    if count == 1:
        return
    try:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
    except RuntimeError:
        # TensorFlow runs already, perhaps with as many: `make_strategy` looks.
        logging.info("the devices were set up before")

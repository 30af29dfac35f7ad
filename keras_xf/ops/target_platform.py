"""Which kind of device a program is being made for.

Some arithmetic has two forms, one of them good for a GPU. Which one a graph
holds is decided when it is traced, once for all devices that it will run on.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

from keras_xf.checks import check

PLATFORMS = ("CPU", "GPU")
_chosen = contextvars.ContextVar("platform", default=None)


def target_platform() -> str:
    """Tells what is traced for.

    Returns:
        What `lowering_for` says around the call; without it "GPU" where
        TensorFlow may use one, else "CPU".
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    return "GPU" if tf.config.get_visible_devices("GPU") else "CPU"


@contextlib.contextmanager
def lowering_for(platform: str) -> Iterator[None]:
    """Says what functions traced inside are made for.

    To be put around whatever traces a program that will run on another
    machine: an export, or a lowering to StableHLO. The program runs on either
    kind of device and computes the same; its dropout draws other numbers.

    Args:
        platform: "CPU" or "GPU".

    Raises:
        ValueError: If it is neither.

    Example:

    >>> with keras_xf.ops.target_platform.lowering_for("GPU"):
    ...     model.export("model")
    """
    check(
        platform in PLATFORMS,
        f"`platform` must be one of {PLATFORMS}.",
        platform=platform,
    )
    token = _chosen.set(platform)
    try:
        yield
    finally:
        _chosen.reset(token)

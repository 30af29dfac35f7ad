"""Replays a bundle's requests on what was saved."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.serving.bundle import Bundle

# Loaded and live graphs are alike; only how they are optimized may differ.
_TOLERANCE = 1e-5


def verify(bundle: Bundle, saved_model_dir: str | Path) -> None:
    """Checks that a SavedModel answers as the live bundle does.

    Args:
        bundle: What was saved.
        saved_model_dir: Where it was saved.

    Raises:
        ValueError: If an answer differs, or is not finite.
    """
    loaded = tf.saved_model.load(str(saved_model_dir))
    # A function of several names was saved once: one of them is enough.
    names = {id(signature): name for name, signature in bundle.traced.items()}
    for name in names.values():
        signature = bundle.traced[name]
        request = {
            key: tf.constant(value)
            for key, value in bundle.requests[name].items()
        }
        live = signature(**request)
        served = loaded.signatures[name](**request)
        check(
            served.keys() == live.keys(),
            f"`{name}` must serve the outputs of the live signature.",
            served=sorted(served),
            live=sorted(live),
        )
        for key in live:
            _check_alike(f"`{name}` output `{key}`", served[key], live[key])


def _check_alike(where, served, live):
    served, live = served.numpy(), live.numpy()
    if served.dtype.kind == "f":
        # JSON has no spelling for infinity and not-a-number.
        check(
            np.isfinite(served).all(),
            f"{where} must be finite.",
            served=served.tolist(),
        )
        is_alike = served.shape == live.shape and np.allclose(
            served, live, rtol=_TOLERANCE, atol=_TOLERANCE
        )
    else:
        is_alike = np.array_equal(served, live)
    check(
        is_alike,
        f"{where} must equal that of the live signature.",
        served=served.tolist(),
        live=live.tolist(),
    )

"""Gradients of which no gradients can be taken."""

from collections.abc import Sequence

import tensorflow as tf


def only_first(upstream: Sequence, inputs: Sequence, message: str) -> list:
    """Makes what comes from it the last gradients.

    A function that computes its own gradients may take tensors from elsewhere,
    so that a gradient of a gradient would come out wrong, or as None.

    Args:
        upstream: Gradients for the function's outputs, to be used as returned.
        inputs: What the function was given.
        message: What to tell who asks for more.

    Returns:
        Tensors like `upstream`. To differentiate what was computed from them,
        for any of the inputs or whatever else, is a `LookupError`.
    """
    number = len(upstream)

    @tf.custom_gradient
    def mark(*tensors):
        def refuse(*_):
            raise LookupError(message)

        return [tf.identity(tensor) for tensor in tensors[:number]], refuse

    return list(mark(*upstream, *inputs))

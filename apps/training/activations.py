"""Names of activations that a user gives."""

import inspect

import keras

from keras_xf.checks import check


def check_activation(activation: str) -> None:
    """Raises `ValueError` unless a layer can take the activation by its name.

    Args:
        activation: The option's value.
    """
    check(
        _is_activation(activation),
        "`activation` must be the name of a Keras activation.",
        activation=activation,
    )


def _is_activation(name):
    try:
        function = keras.activations.get(name)
        # Some cannot do without more arguments than the input.
        inspect.signature(function).bind("input")
    except (ValueError, TypeError):
        return False
    # Halves the width.
    return name != "glu"

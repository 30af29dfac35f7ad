"""Tests of apps.training.activations."""

import keras
import pytest

from apps.training.activations import check_activation


@pytest.mark.parametrize("name", ["gelu", "relu", "silu", "tanh", "linear"])
def test_takes_what_a_layer_takes(name):
    check_activation(name)
    keras.layers.Dense(2, activation=name)


# A function of the module that is no activation; one that cannot do without
# more arguments; one that halves the width.
@pytest.mark.parametrize("name", ["wavy", "get", "threshold", "glu", ""])
def test_refuses_others(name):
    with pytest.raises(ValueError) as error:
        check_activation(name)
    assert str(error.value) == (
        "`activation` must be the name of a Keras activation. "
        f"Received: activation={name!r}."
    )

"""Tests of keras_xf.layers.FeedForward and PaddingMask.

What every layer owes is tested in tests/conformance.
"""

import numpy as np
import pytest

from keras_xf.layers import FeedForward
from keras_xf.layers import PaddingMask


def test_feed_forward_computes_equation_2():
    layer = FeedForward(intermediate_dim=16)
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    outputs = layer(x)
    kernel, bias, kernel_2, bias_2 = layer.get_weights()
    np.testing.assert_allclose(
        outputs,
        np.maximum(x @ kernel + bias, 0) @ kernel_2 + bias_2,
        atol=1e-5,
    )


def test_feed_forward_without_biases_has_none():
    layer = FeedForward(intermediate_dim=16, use_bias=False)
    layer.build((None, None, 8))
    assert [w.shape for w in layer.weights] == [(8, 16), (16, 8)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"intermediate_dim": 0},
            "`intermediate_dim` must be positive. "
            "Received: intermediate_dim=0.",
        ),
        (
            {"intermediate_dim": 4, "dropout": -0.5},
            "`dropout` must lie in [0, 1). Received: dropout=-0.5.",
        ),
    ],
)
def test_feed_forward_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        FeedForward(**arguments)
    assert str(error.value) == message


def test_padding_mask_rejects_a_length_that_is_no_vector():
    with pytest.raises(ValueError) as error:
        PaddingMask()(np.zeros((2, 3)), np.zeros((2, 1), "int32"))
    assert str(error.value) == (
        "`length` must have the shape (batch,). Received: shape=(2, 1)."
    )

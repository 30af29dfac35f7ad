"""Tests of keras_xf.layers.PaddedLength.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import PaddedLength


class Witness(keras.layers.Layer):
    """Keeps what it was called with, and adds one to each sequence."""

    def build(self, input_shape):
        self.supports_masking = True

    def call(self, inputs, padding_mask=None, **kwargs):
        self.seen = (inputs, padding_mask, kwargs)
        return keras.tree.map_structure(lambda x: x + 1, inputs)


@pytest.mark.parametrize(
    ("length", "padded"), [(1, 1), (3, 3), (4, 6), (6, 6), (7, 12)]
)
@pytest.mark.parametrize("is_open", [False, True])
def test_what_the_layer_is_given(length, padded, is_open):
    layer = PaddedLength(Witness(), multiple=6, longer_than=3)
    x = np.random.default_rng(0).normal(size=(2, length, 5)).astype("float32")
    mask = np.arange(length) < np.array([[length], [1]])

    def run(x, mask):
        outputs = layer((x, 2 * x), padding_mask=mask, state=3)
        return outputs, layer.layer.seen[:2]

    if is_open:
        run = tf.function(
            run,
            input_signature=[
                tf.TensorSpec((None, None, 5)),
                tf.TensorSpec((None, None), "bool"),
            ],
        )
    outputs, (inputs, seen_mask) = run(x, mask)
    assert layer.layer.seen[2] == {"state": 3}
    for factor, output, given in zip((1, 2), outputs, inputs, strict=True):
        np.testing.assert_array_equal(output, factor * x + 1)
        expected = np.zeros((2, padded, 5))
        expected[:, :length] = factor * x
        np.testing.assert_array_equal(given, expected)
    expected = np.zeros((2, padded), bool)
    expected[:, :length] = mask
    np.testing.assert_array_equal(seen_mask, expected)


def test_without_a_mask_all_is_real_but_the_padding():
    layer = PaddedLength(Witness(), multiple=4)
    assert layer(np.zeros((1, 3, 5), "float32")).shape == (1, 3, 5)
    np.testing.assert_array_equal(
        layer.layer.seen[1], [[True, True, True, False]]
    )
    layer(np.zeros((1, 4, 5), "float32"))
    assert layer.layer.seen[1] is None


@pytest.mark.parametrize("length", [5, 8])
def test_masks_of_keras_reach_the_layer(length):
    ids = np.arange(length)[None] < 3
    x = keras.layers.Embedding(2, 5, mask_zero=True)(ids)
    layer = PaddedLength(Witness(), multiple=4)
    given = np.arange(length)[None] > 0
    layer((x, np.zeros(x.shape)), padding_mask=given)
    expected = np.isin(np.arange(8), (1, 2))[None]
    np.testing.assert_array_equal(layer.layer.seen[1], expected)


def test_inputs_keep_their_precision():
    layer = PaddedLength(
        Witness(dtype="float32"), multiple=4, dtype="mixed_bfloat16"
    )
    # bfloat16 would round it away.
    x = np.full((1, 3, 5), 1 + 2.0**-20, "float32")
    np.testing.assert_array_equal(layer(x), x + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layer": 3, "multiple": 4},
            "`layer` must be a `keras.layers.Layer`. Received: layer=3.",
        ),
        (
            {"layer": Witness(), "multiple": 0},
            "`multiple` must be positive. Received: multiple=0.",
        ),
        (
            {"layer": Witness(), "multiple": 2, "longer_than": -1},
            "`longer_than` must not be negative. Received: longer_than=-1.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        PaddedLength(**arguments)
    assert str(error.value) == message

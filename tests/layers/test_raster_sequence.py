"""Tests of keras_xf.layers.RasterSequence.

What every layer owes (configuration, saving, export) is tested in
tests/conformance; here is what only this layer does.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import RasterSequence

SHAPES = [(1, 2), (2, 3)]
TOP = np.array([[[0, 4]], [[3, 1]]])
BOTTOM = np.array([[[0, 1, 2], [3, 4, 5]], [[6, 0, 6], [0, 6, 0]]])


def test_levels_follow_each_other_after_a_token_that_begins():
    layer = RasterSequence(SHAPES, [5, 7])
    token_ids, length = layer([TOP, BOTTOM])
    np.testing.assert_array_equal(
        token_ids, [[0, 1, 5, 6, 7, 8, 9, 10], [0, 4, 2, 12, 6, 12, 6, 12]]
    )
    np.testing.assert_array_equal(length, [8, 8])
    assert (layer.length, layer.vocabulary_size) == (8, 13)
    assert layer.offsets == [1, 6]


def test_a_sequence_begins_with_its_class():
    layer = RasterSequence(SHAPES, [5, 7], num_classes=10)
    token_ids, _ = layer([TOP, BOTTOM], class_ids=np.array([9, 0]))
    np.testing.assert_array_equal(
        token_ids[:, :4], [[9, 10, 14, 15], [0, 13, 11, 21]]
    )
    assert layer.vocabulary_size == 22


def test_logits_are_of_the_next_code_of_its_level():
    layer = RasterSequence(SHAPES, [5, 7], num_classes=2)
    logits = np.random.default_rng(0).normal(size=(2, 8, 14))
    top, bottom = layer(logits.astype("float32"), reverse=True)
    assert top.shape == (2, 1, 2, 5)
    assert bottom.shape == (2, 2, 3, 7)
    for place in range(2):
        np.testing.assert_allclose(
            top[:, 0, place], logits[:, place, 2:7], rtol=1e-6
        )
    for place in range(6):
        np.testing.assert_allclose(
            bottom[:, place // 3, place % 3],
            logits[:, 2 + place, 7:14],
            rtol=1e-6,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([(1, 2)], [5, 7]),
            "`num_codes` must have one number for each of `shapes`. "
            "Received: num_codes=[5, 7], shapes=[(1, 2)].",
        ),
        (
            ([(0, 2)], [5]),
            "`shapes` must be pairs of height and width. "
            "Received: shapes=[(0, 2)].",
        ),
        (
            ([(1, 2)], [0]),
            "`num_codes` must be positive. Received: num_codes=[0].",
        ),
        (
            ([(1, 2)], [5], 0),
            "`num_classes` must be positive. Received: num_classes=0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        RasterSequence(*arguments)
    assert str(error.value) == message


def test_rejects_codes_of_others():
    layer = RasterSequence(SHAPES, [5, 7])

    def message(*arguments, **keywords):
        with pytest.raises(ValueError) as error:
            layer(*arguments, **keywords)
        return str(error.value)

    assert (
        "`inputs` must be the codes of each level. "
        "Received: shape=[(2, 1, 2)], shapes=[(1, 2), (2, 3)]."
    ) in message([TOP])
    assert (
        "`inputs` must have the shape (batch, height, width) with height=1, "
        "width=2. Received: shape=(2, 2, 3)."
    ) in message([BOTTOM, TOP])
    # A code too many would be one of the bottom's.
    assert "`inputs` must lie in [0, 5). Received: inputs=5." in message(
        [TOP + 1, BOTTOM]
    )
    assert (
        "`class_ids` must be given if there are classes, and only then. "
        "Received: num_classes=None."
    ) in message([TOP, BOTTOM], class_ids=np.array([0, 0]))
    assert (
        "`inputs` must have the shape (batch, length, vocabulary_size) with "
        "length=8, vocabulary_size=13. Received: shape=(1, 8, 12)."
    ) in message(np.zeros((1, 8, 12), "float32"), reverse=True)


@pytest.mark.parametrize("wrong", [-1, 5, 12])
def test_what_is_out_of_range_is_no_token_of_another(wrong):
    layer = RasterSequence(SHAPES, [5, 7], num_classes=2)
    call = tf.function(layer)
    token_ids, _ = call(
        [TOP * 0 + wrong, BOTTOM], class_ids=np.array([wrong, 1])
    )
    np.testing.assert_array_equal(token_ids[:, :3], [[14] * 3, [1, 14, 14]])

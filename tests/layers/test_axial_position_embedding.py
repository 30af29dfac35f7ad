"""Tests of keras_xf.layers.AxialPositionEmbedding.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import AxialPositionEmbedding

GRIDS = {
    "one axis": ((12,), (5,)),
    "two axes": ((3, 4), (2, 3)),
    "three axes": ((2, 2, 3), (1, 2, 2)),
}


@pytest.fixture(params=sorted(GRIDS))
def layer(request):
    layer = AxialPositionEmbedding(*GRIDS[request.param])
    layer.build((None, None, 5))
    return layer


def dense_table(layer):
    """All positions' vectors, by broadcasting along the other axes."""
    num_axes = len(layer.shape)
    parts = []
    for axis, table in enumerate(layer.get_weights()):
        shape = [1] * num_axes + [table.shape[1]]
        shape[axis] = table.shape[0]
        parts.append(
            np.broadcast_to(
                table.reshape(shape), (*layer.shape, table.shape[1])
            )
        )
    return np.concatenate(parts, axis=-1).reshape(-1, 5)


def dense_gradients(layer, gradient):
    """Gradients of the tables, of that of the dense table `(12, 5)`."""
    gradient = gradient.reshape(*layer.shape, 5)
    ends = np.cumsum(layer.dims)
    return [
        gradient[..., end - dim : end].sum(
            axis=tuple(set(range(len(layer.shape))) - {axis})
        )
        for axis, (dim, end) in enumerate(zip(layer.dims, ends, strict=True))
    ]


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("length", [12, 7, 1])
@pytest.mark.parametrize("training", [False, True])
def test_it_adds_the_rows_of_a_dense_table(layer, length, training):
    inputs, upstream = draw(2, length, 5), draw(2, length, 5)
    with tf.GradientTape() as tape:
        outputs = layer(inputs, training=training)
    np.testing.assert_array_equal(outputs, inputs + dense_table(layer)[:length])
    gradients = tape.gradient(
        outputs, [w.value for w in layer.weights[: len(layer.shape)]], upstream
    )
    table_gradient = np.zeros((12, 5), "float32")
    table_gradient[:length] = upstream.sum(axis=0)
    for actual, expected in zip(
        gradients, dense_gradients(layer, table_gradient), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_start_continues_the_positions(layer):
    inputs, upstream = draw(3, 4, 5), draw(3, 4, 5)
    # The last row runs past the grid, and repeats its last position.
    places = np.array([[0, 1, 2, 3], [5, 6, 7, 8], [10, 11, 11, 11]])
    with tf.GradientTape() as tape:
        outputs = layer(inputs, start=places[:, 0])
    np.testing.assert_array_equal(outputs, inputs + dense_table(layer)[places])
    gradients = tape.gradient(
        outputs, [w.value for w in layer.weights[: len(layer.shape)]], upstream
    )
    table_gradient = np.zeros((12, 5), "float32")
    np.add.at(table_gradient, places, upstream)
    for actual, expected in zip(
        gradients, dense_gradients(layer, table_gradient), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_an_open_length_may_end_anywhere(layer):
    function = tf.function(
        layer, input_signature=[tf.TensorSpec((None, None, 5))]
    )
    for length in (1, 7, 12):
        inputs = draw(2, length, 5)
        np.testing.assert_array_equal(function(inputs), layer(inputs))


def test_few_vectors_serve_many_positions():
    layer = AxialPositionEmbedding((512, 1024), (64, 192))
    layer.build((None, None, 256))
    sizes = [weight.shape for weight in layer.trainable_weights]
    assert sizes == [(512, 64), (1024, 192)]
    last = layer(
        np.zeros((1, 2, 256), "float32"), start=np.array([512 * 1024 - 2])
    )
    first, second = layer.get_weights()[:2]
    np.testing.assert_array_equal(
        last[0, 1], np.concatenate([first[511], second[1023]])
    )
    np.testing.assert_array_equal(last[0, 0, 64:], second[1022])


def test_axes_begin_with_different_draws_of_variance_one():
    layer = AxialPositionEmbedding((90, 90), (40, 40))
    layer.build((None, None, 80))
    first, second = layer.get_weights()[:2]
    assert np.abs(first - second).max() > 0.5
    for table in (first, second):
        assert abs(table.std() - 1) < 0.1


def test_dropout_drops_features_of_whole_rows():
    layer = AxialPositionEmbedding((4, 5), (50, 50), dropout=0.25, seed=1)
    inputs = np.zeros((8, 20, 100), "float32")
    whole = layer(inputs)[0].numpy()
    dropped = layer(inputs, training=True).numpy()
    is_kept = np.any(dropped, axis=1, keepdims=True)
    np.testing.assert_allclose(
        dropped, np.where(is_kept, whole / 0.75, 0), rtol=1e-6
    )
    assert 0.15 < 1 - is_kept.mean() < 0.35
    assert not np.array_equal(is_kept[0], is_kept[1])


def test_dropout_spares_the_inputs():
    layer, same = (
        AxialPositionEmbedding((4, 5), (2, 2), dropout=0.5, seed=1)
        for _ in range(2)
    )
    for each in (layer, same):
        each.build((None, None, 4))
    same.set_weights(layer.get_weights())
    inputs = draw(3, 20, 4)
    np.testing.assert_allclose(
        layer(inputs, training=True) - inputs,
        same(np.zeros_like(inputs), training=True),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("shape", "dims", "message"),
    [
        (
            (),
            (),
            "`shape` must be positive sizes, one or more. Received: shape=().",
        ),
        (
            (4, 0),
            (2, 3),
            "`shape` must be positive sizes, one or more. "
            "Received: shape=(4, 0).",
        ),
        (
            (4, 3),
            (5,),
            "`dims` must be positive widths, one for each axis of `shape`. "
            "Received: dims=(5,), shape=(4, 3).",
        ),
        (
            (4, 3),
            (5, 0),
            "`dims` must be positive widths, one for each axis of `shape`. "
            "Received: dims=(5, 0), shape=(4, 3).",
        ),
    ],
)
def test_rejects_grids(shape, dims, message):
    with pytest.raises(ValueError) as error:
        AxialPositionEmbedding(shape, dims)
    assert str(error.value) == message


def test_rejects_a_dropout_of_everything():
    with pytest.raises(ValueError) as error:
        AxialPositionEmbedding((4,), (2,), dropout=1.0)
    assert str(error.value) == (
        "`dropout` must lie in [0, 1). Received: dropout=1.0."
    )


def test_rejects_inputs_that_the_grid_does_not_suit():
    layer = AxialPositionEmbedding((3, 4), (2, 3))
    with pytest.raises(ValueError) as error:
        layer(np.zeros((2, 5, 6), "float32"))
    assert (
        "`dims` must add up to the width of `inputs`. "
        "Received: dims=(2, 3), width=6." in str(error.value)
    )
    assert not layer.trainable_weights
    layer = AxialPositionEmbedding((3, 4), (2, 3))
    too_long = (
        "`inputs` must not be longer than the product of `shape`. "
        "Received: length=13, shape=(3, 4)."
    )
    for inputs in (np.zeros((2, 13, 5), "float32"), keras.Input((13, 5))):
        with pytest.raises(ValueError) as error:
            layer(inputs)
        assert too_long in str(error.value)
        assert not layer.trainable_weights
    layer(np.zeros((2, 12, 5), "float32"))
    with pytest.raises(ValueError) as error:
        layer(np.zeros((2, 13, 5), "float32"))
    assert too_long in str(error.value)
    with pytest.raises(ValueError) as error:
        layer(np.zeros((2, 5, 5), "float32"), start=np.zeros((2, 1), "int32"))
    assert (
        "`start` must have the shape (batch,). Received: shape=(2, 1)."
        in str(error.value)
    )

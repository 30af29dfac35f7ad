"""Tests of keras_xf.layers.GatedPixelConvolution.

What every layer owes (configuration, saving, export, shapes, precision,
gradients) is tested in tests/conformance; here is what only this layer does.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import GatedPixelConvolution
from tests.oracles import pixel_cnn as oracle


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def weights_of(layer):
    return {
        name: [w.numpy() for w in part.weights]
        for name, part in {
            "vertical": layer.vertical,
            "horizontal": layer.horizontal,
            "link": layer.link,
            "output": layer.output_projection,
        }.items()
    }


def randomize(layer):
    # Biases begin as zeros, which would hide one that is missing.
    for place, weight in enumerate(layer.weights):
        weight.assign(0.5 * normal(*weight.shape, seed=place))


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("strict", [True, False])
def test_equals_a_loop_over_places(strict, kernel_size):
    layer = GatedPixelConvolution(4, kernel_size, strict=strict)
    inputs = normal(2, 4, 5, 4), normal(2, 4, 5, 4, seed=1)
    layer(inputs)
    randomize(layer)
    outputs = layer(inputs)
    for row in range(2):
        expected = oracle.gated_pixel_convolution(
            inputs[0][row],
            inputs[1][row],
            weights_of(layer),
            reach=kernel_size // 2,
            strict=strict,
        )
        for actual, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(actual[row], wanted, atol=1e-5)


def test_class_and_condition_are_added_before_the_gates():
    layer = GatedPixelConvolution(4, num_classes=3)
    inputs = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    condition = normal(2, 3, 4, 6, seed=2)
    arguments = {"condition": condition, "class_ids": np.array([2, 0])}
    layer(inputs, **arguments)
    randomize(layer)
    outputs = layer(inputs, **arguments)
    kernel = layer.condition_projection.kernel.numpy()
    for row, class_id in enumerate([2, 0]):
        expected = oracle.gated_pixel_convolution(
            inputs[0][row],
            inputs[1][row],
            weights_of(layer),
            reach=1,
            strict=False,
            bias=condition[row] @ kernel + layer.class_biases.numpy()[class_id],
        )
        for actual, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(actual[row], wanted, atol=1e-5)


@pytest.mark.parametrize("strict", [True, False])
def test_rows_and_places_one_by_one_equal_the_whole(strict):
    layer = GatedPixelConvolution(4, 5, strict=strict)
    above, before = normal(1, 4, 5, 4), normal(1, 4, 5, 4, seed=1)
    expected = layer((above, before))
    own = int(not strict)
    above = np.pad(above, ((0, 0), (2, 0), (0, 0), (0, 0)))
    before = np.pad(before, ((0, 0), (0, 0), (2, 0), (0, 0)))
    for i in range(4):
        vertical, link = layer.see_rows(above[:, i : i + 2 + own])
        np.testing.assert_allclose(vertical, expected[0][:, i : i + 1], 1e-5)
        for j in range(5):
            horizontal = layer.see_columns(
                before[:, i : i + 1, j : j + 2 + own], link[:, :, j : j + 1]
            )
            np.testing.assert_allclose(
                horizontal, expected[1][:, i : i + 1, j : j + 1], 1e-4, 1e-6
            )


def test_parameters_are_those_of_the_visible_places():
    for strict, depth in [(True, 3), (False, 4)]:
        layer = GatedPixelConvolution(5, 7, strict=strict, num_classes=2)
        layer(2 * (normal(1, 8, 8, 5),), class_ids=np.array([1]))
        vertical = depth * 7 * 5 * 10 + 10
        horizontal = depth * 5 * 10 + 10
        others = 10 * 10 + 5 * 5 + 5 + 2 * 20
        assert layer.count_params() == vertical + horizontal + others


def test_all_matrices_start_from_different_draws():
    layer = GatedPixelConvolution(
        8, num_classes=8, kernel_initializer="glorot_uniform"
    )
    layer = GatedPixelConvolution.from_config(
        {
            **layer.get_config(),
            "kernel_initializer": {
                "module": "keras.initializers",
                "class_name": "RandomNormal",
                "config": {"mean": 0.0, "stddev": 1.0, "seed": 1},
                "registered_name": None,
            },
        }
    )
    pair = 2 * (normal(1, 3, 3, 8),)
    layer(pair, condition=normal(1, 3, 3, 8), class_ids=np.array([1]))
    matrices = [w.numpy().ravel()[:60] for w in layer.weights if w.ndim > 1]
    assert len(matrices) == 6
    correlation = np.corrcoef(matrices) - np.eye(6)
    assert np.abs(correlation).max() < 0.5


def test_training_drops_gated_activations():
    layer = GatedPixelConvolution(4, dropout=0.5, seed=1)
    pair = 2 * (normal(1, 20, 20, 4),)
    vertical, _ = layer(pair, training=True)
    kept, _ = layer(pair)
    is_zero = np.asarray(vertical) == 0
    assert 0.4 < is_zero.mean() < 0.6
    np.testing.assert_allclose(
        vertical[~is_zero], 2 * kept[~is_zero], rtol=1e-5
    )


def test_any_size_of_image_by_the_same_weights():
    layer = GatedPixelConvolution(4)
    for size in [(1, 1), (1, 6), (5, 2)]:
        pair = 2 * (normal(2, *size, 4),)
        for output in layer(pair):
            assert output.shape == (2, *size, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "`filters` must be positive. Received: filters=0."),
        (
            {"kernel_size": 4},
            "`kernel_size` must be odd, and more than 1. "
            "Received: kernel_size=4.",
        ),
        (
            {"kernel_size": 1},
            "`kernel_size` must be odd, and more than 1. "
            "Received: kernel_size=1.",
        ),
        (
            {"num_classes": 0},
            "`num_classes` must be positive. Received: num_classes=0.",
        ),
        (
            {"dropout": 1.0},
            "`dropout` must lie in [0, 1). Received: dropout=1.0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        GatedPixelConvolution(**{"filters": 4, **arguments})
    assert str(error.value) == message


def test_rejects_inputs_of_others():
    layer = GatedPixelConvolution(4, num_classes=2)
    pair = 2 * (normal(1, 3, 3, 4),)
    classes = np.array([1])

    def message(*arguments, **keywords):
        with pytest.raises(ValueError) as error:
            layer(*arguments, **keywords)
        return str(error.value)

    assert (
        "`inputs` must have `filters` channels in the horizontal stack, unless "
        "`strict`. Received: shape=(1, 3, 3, 5), filters=4."
    ) in message(2 * (normal(1, 3, 3, 5),), class_ids=classes)
    assert not layer.weights
    layer(pair, class_ids=classes)
    assert (
        "`class_ids` must be given if there are classes, and only then. "
        "Received: num_classes=2."
    ) in message(pair)
    assert (
        "`condition` must be given as it was when the layer was built. "
        "Received: shape=(1, 3, 3, 2)."
    ) in message(pair, normal(1, 3, 3, 2), classes)
    assert (
        "`class_ids` must lie in [0, 2). Received: class_ids=2."
    ) in message(pair, class_ids=np.array([2]))
    assert (
        "`inputs` must have the shape (batch, height, width, dim) with dim=4. "
        "Received: shape=(1, 3, 3, 7)."
    ) in message((normal(1, 3, 3, 7), pair[1]), class_ids=classes)


def test_class_ids_need_not_be_checked_in_graphs():
    layer = GatedPixelConvolution(4, num_classes=2)
    pair = 2 * (normal(2, 3, 3, 4),)
    eager = layer(pair, class_ids=np.array([1, 0]))
    graph = tf.function(layer)(pair, class_ids=tf.constant([1, 0]))
    np.testing.assert_allclose(graph[1], eager[1], atol=1e-6)

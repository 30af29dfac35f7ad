"""Tests of keras_xf.models.pixel_cnn.

What it has in common with other priors is tested in test_code_priors.py.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from tests.models.code_priors import ONE_LEVEL
from tests.models.code_priors import make
from tests.models.code_priors import what_changes
from tests.oracles.pixel_cnn import visible_places

# Kernels of the first layer and of the others, and how many those are.
STACKS = [(3, 3, 0), (5, 3, 1), (3, 5, 2), (7, 3, 5)]


def make_stack(first, others, number, **arguments):
    return make(
        "build_pixel_cnn",
        first_kernel_size=first,
        kernel_size=others,
        num_layers=1 + number,
        num_classes=None,
        **{**ONE_LEVEL, **arguments},
    )


def visible_of(first, others, number):
    reaches = [first // 2] + [others // 2] * number
    return visible_places(4, 5, reaches).reshape(20, 20)


@pytest.mark.parametrize("stack", STACKS)
def test_a_code_changes_just_what_sees_it(stack):
    model = make_stack(*stack, dtype="float64")
    sees = what_changes(model, "code_ids", of="code_ids").T
    np.testing.assert_array_equal(sees, visible_of(*stack))


def test_nothing_before_a_place_is_hidden_from_a_deep_stack():
    # What is before it in raster order, and no more.
    before = np.tri(20, k=-1, dtype=bool)
    np.testing.assert_array_equal(visible_of(*STACKS[-1]), before)
    # With fewer layers much is hidden, or the test above would tell nothing.
    assert visible_of(*STACKS[0]).sum() < 0.5 * before.sum()


@pytest.mark.parametrize("stack", [STACKS[1], STACKS[-1]])
def test_gradients_reach_just_what_is_seen(stack):
    model = make_stack(*stack, dtype="float64")
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 8))
    # Of each copy, the logits of one place.
    x = tf.constant(np.repeat(x, 20, axis=0))
    with tf.GradientTape() as tape:
        tape.watch(x)
        pair = (x, x)
        for index in range(1 + stack[2]):
            pair = model.get_layer(f"code_block_{index}")(pair)
        # As the head ends: with its ReLUs, some are flat.
        logits = model.get_layer("code_hidden")(tf.exp(pair[1]))
        logits = tf.reshape(logits, (20, 20, -1))
        loss = tf.reduce_sum(tf.linalg.diag_part(tf.transpose(logits)))
    gradients = tape.gradient(loss, x)
    reached = np.any(np.asarray(gradients) != 0, axis=-1).reshape(20, 20)
    np.testing.assert_array_equal(reached, visible_of(*stack))


def test_parameters_of_one_level():
    model = models.build_pixel_cnn(
        code_shapes={"code_ids": (7, 7)}, num_codes={"code_ids": 10}
    )
    width = 128
    pairs = 2 * (2 * width)  # Biases of both convolutions.
    link, projection = (2 * width) ** 2, width * width + width
    first = (3 * 7 + 3) * width * 2 * width
    others = (2 * 3 + 2) * width * 2 * width
    head = width * 256 + 256 + 256 * 10 + 10
    assert model.count_params() == (
        10 * width
        + 12 * (pairs + link + projection)
        + first
        + 11 * others
        + head
    )


def test_the_bottom_is_told_of_the_top():
    def count(**arguments):
        return make("build_pixel_cnn", **arguments).count_params()

    width, block = 8, 9 * 8 * 8 + 8 + 8 * 8 + 8
    assert count(num_condition_blocks=3) - count() == 2 * block
    # Each layer of both levels has biases for each class, of both gates.
    assert count(num_classes=3) - count(num_classes=None) == (
        2 * 3 * 3 * 4 * width
    )
    model = make("build_pixel_cnn")
    # From 2 x 3 to 3 x 5: doubled, and cut off.
    assert model.get_layer("top_code_condition_enlarged").output.shape == (
        None,
        4,
        6,
        8,
    )
    assert model.get_layer("top_code_condition").output.shape == (None, 3, 5, 8)


@pytest.mark.parametrize("shape", [(2, 3), (5, 7), (3, 9)])
def test_the_whole_top_is_seen_at_any_size(shape):
    model = make(
        "build_pixel_cnn",
        code_shapes={"top_code_ids": (2, 3), "bottom_code_ids": shape},
        num_condition_blocks=0,
        dtype="float64",
    )
    sees = what_changes(model, "top_code_ids", of="bottom_code_ids")
    assert np.all(sees)


def test_all_kernels_start_from_different_draws():
    model = make("build_pixel_cnn")
    starts = [
        weight.numpy().ravel()[:24]
        for weight in model.trainable_weights
        if weight.ndim > 1
    ]
    # Cosines: some are but a row of numbers.
    starts = np.array([x / np.linalg.norm(x) for x in starts])
    cosines = starts @ starts.T - np.eye(len(starts))
    assert np.abs(cosines).max() < 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"hidden_dim": 0},
            "`hidden_dim` must be positive. Received: hidden_dim=0.",
        ),
        (
            {"output_dim": 0},
            "`output_dim` must be positive. Received: output_dim=0.",
        ),
        (
            {"num_condition_blocks": -1},
            "`num_condition_blocks` must not be negative. "
            "Received: num_condition_blocks=-1.",
        ),
        (
            {"first_kernel_size": 4},
            "`kernel_size` must be odd, and more than 1. "
            "Received: kernel_size=4.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        make("build_pixel_cnn", **arguments)
    assert str(error.value) == message

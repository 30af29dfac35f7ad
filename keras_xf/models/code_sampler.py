"""Sampling of codes, from any prior over them."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.decoding import assert_sampling_inputs
from keras_xf.decoding import uniform_noise
from keras_xf.layers.token_ids import as_token_ids
from keras_xf.models.code_levels import count_classes
from keras_xf.models.code_levels import levels_of
from keras_xf.models.code_transformer_draws import CodeTransformerDraws
from keras_xf.models.pixel_cnn_draws import PixelCNNDraws
from keras_xf.ops.empty_batches import never_empty


def code_sampler(model: keras.Model) -> Callable:
    """Makes the function that draws images of codes from a prior.

    Each code is drawn from its probability, given those that were drawn before
    it. Nothing is computed twice: a Transformer keeps keys and values, a
    PixelCNN computes each row of its vertical stacks once and each place of its
    horizontal ones.

    A row depends on its own seed, class and temperature alone, not on the rows
    beside it. The same model, new or loaded, gives the same codes, eagerly and
    in a graph, as far as its logits are the same: a code whose interval ends
    within a rounding error of the noise may be another.

    Args:
        model: A model of `build_code_transformer` or `build_pixel_cnn`. The
            function works with its very layers, so it follows when the model is
            trained.

    Returns:
        A function of `class_ids`, integer `(batch,)`, or None if the model has
        no classes; `seed`, integer `(batch, 2)`; and `temperature`, a number or
        float `(batch,)`, 1 by default, which the logits are divided by: rows of
        temperature 0 get the most probable code at each place. It returns a
        dict of the codes, int32 `(batch, height, width)`, by the model's names.

        It raises `ValueError` where it is known that an argument is not one of
        these, and in a graph `tf.errors.InvalidArgumentError` when that runs.

    Raises:
        ValueError: If the model is another builder's.

    Example:

    >>> prior = keras_xf.models.build_pixel_cnn(
    ...     code_shapes={"code_ids": (2, 2)}, num_codes={"code_ids": 8}
    ... )
    >>> sample = keras_xf.models.code_sampler(prior)
    >>> sample(None, seed=np.array([[1, 2], [3, 4]]))["code_ids"].shape
    TensorShape([2, 2, 2])
    """
    levels = levels_of(model)
    names = {layer.name for layer in model.layers}
    is_transformer = "raster_sequence" in names
    draws = (CodeTransformerDraws if is_transformer else PixelCNNDraws)(model)
    num_draws = sum(math.prod(level.shape) for level in levels)
    num_classes = count_classes(model)
    has_classes = "class_ids" in model.input

    # In eager execution too: a loop of so many small steps takes many times
    # as long there.
    @tf.function(reduce_retracing=True, autograph=False)
    def draw(inputs):
        codes = draws(
            inputs.get("class_ids"),
            uniform_noise(inputs["seed"], num_draws),
            inputs["temperature"],
        )
        return {
            level.ids: tf.reshape(ids, (-1, *level.shape))
            for level, ids in zip(levels, codes, strict=True)
        }

    def sample_codes(class_ids=None, seed=None, temperature=1.0):
        check(seed is not None, "`seed` must be given.", seed=seed)
        check(
            (class_ids is not None) == has_classes,
            "`class_ids` must be given if the model has classes, and only "
            "then.",
            class_ids=class_ids,
        )
        seed = tf.convert_to_tensor(seed)
        check_shape("seed", tuple(seed.shape), "(batch, two)", two=2)
        inputs = {"seed": seed}
        if class_ids is not None:
            class_ids = _known_classes(class_ids, num_classes)
            inputs["class_ids"] = _with_rows_of(seed, class_ids)
        temperature = _known_temperature(temperature)
        inputs["temperature"] = tf.broadcast_to(temperature, tf.shape(seed)[:1])
        return never_empty(draw, inputs)

    return sample_codes


def _known_classes(class_ids, num_classes):
    """int32 `(batch,)`, each one of a class that there is."""
    class_ids = tf.convert_to_tensor(class_ids)
    ids = as_token_ids("class_ids", class_ids, num_classes)
    check_shape("class_ids", tuple(ids.shape), "(batch,)")
    ids = tf.cast(ids, tf.int32)
    if tf.executing_eagerly():
        return ids
    # A Transformer has codes for tokens, too, that others would be.
    return _asserted(
        ids,
        tf.reduce_all((ids >= 0) & (ids < num_classes)),
        [f"`class_ids` must lie in [0, {num_classes}). Received:", ids],
    )


def _with_rows_of(seed, class_ids):
    """`class_ids`, as many as seeds."""
    received, expected = class_ids.shape[0], seed.shape[0]
    check(
        None in (received, expected) or received == expected,
        "`class_ids` must have as many rows as `seed`.",
        class_ids=received,
        seed=expected,
    )
    if None not in (received, expected):
        return class_ids
    received, expected = tf.shape(class_ids)[0], tf.shape(seed)[0]
    return _asserted(
        class_ids,
        tf.equal(received, expected),
        [
            "`class_ids` must have as many rows as `seed`. Received:",
            received,
            expected,
        ],
    )


def _asserted(tensor, condition, message):
    """The tensor, after the assertion: else its use could fail before it."""
    assertion = tf.debugging.Assert(condition, message)
    with tf.control_dependencies([assertion]):
        return tf.identity(tensor)


def _known_temperature(temperature):
    """Float32, finite and not negative."""
    given = temperature
    temperature = tf.cast(temperature, tf.float32)
    # A number is known in a graph, too.
    values = tf.get_static_value(temperature)
    if values is None:
        assert_sampling_inputs(temperature, 1.0)
        return temperature
    check(
        np.all((values >= 0) & np.isfinite(values)),
        "`temperature` must be finite and not negative.",
        temperature=given,
    )
    return temperature

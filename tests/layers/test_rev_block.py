"""Tests of keras_xf.layers.RevBlock.

What every layer owes is tested in tests/conformance.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import FeedForward
from keras_xf.layers import RevBlock
from keras_xf.layers import ReversibleSequence
from keras_xf.layers import SelfAttention
from keras_xf.layers import Sublayer


@pytest.fixture
def streams():
    random = np.random.default_rng(0)
    return tuple(random.normal(size=(2, 3, 5, 8)).astype("float32"))


def gradients(layer, streams):
    with tf.GradientTape() as tape:
        y1, y2 = layer(streams, training=True)
        loss = tf.reduce_sum(y1 * y2)
    return tape.gradient(loss, [v.value for v in layer.trainable_variables])


def test_computes_the_equations(streams):
    x1, x2 = streams
    f, g = Sublayer(SelfAttention(2, 4)), Sublayer(FeedForward(12))
    mask = np.arange(5) < np.array([[5], [3], [1]])
    y1, y2 = RevBlock(f, g)(streams, padding_mask=mask)
    np.testing.assert_allclose(y1, x1 + f(x2, padding_mask=mask), atol=1e-6)
    np.testing.assert_allclose(y2, x2 + g(y1), atol=1e-6)


def test_is_a_sequence_of_one_block(streams):
    f = Sublayer(SelfAttention(2, 4), dropout=0.3, seed=1)
    g = Sublayer(FeedForward(12), dropout=0.3, seed=2)
    results = []
    for layer in (
        RevBlock(f, g),
        RevBlock(f, g, reversible=False),
        ReversibleSequence([(f, g)]),
    ):
        for sublayer in (f, g):
            sublayer.seed_generator.state.assign([1, 0])
        results.append(gradients(layer, streams))
    for expected in results[:2]:
        for a, b in zip(results[2], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_one_layer_may_be_both(streams):
    layer = FeedForward(4)
    block = RevBlock(layer, layer, reversible=False)
    config = json.loads(json.dumps(block.get_config()))
    copy = RevBlock.from_config(config)
    copy(streams)
    assert len(copy.trainable_variables) == 4
    assert not copy.sequence.reversible


def test_half_precision_stands_for_float32(streams):
    block = RevBlock(
        FeedForward(4, dtype="mixed_float16"),
        FeedForward(4, dtype="mixed_float16"),
        dtype="mixed_float16",
    )
    assert block.compute_dtype == "float32"
    assert all(y.dtype == "float32" for y in block(streams))


@pytest.mark.parametrize("name", ["f", "g"])
def test_rejects(name):
    arguments = {"f": FeedForward(4), "g": FeedForward(4), name: 3}
    with pytest.raises(ValueError) as error:
        RevBlock(**arguments)
    assert str(error.value) == (
        f"`{name}` must be a `keras.layers.Layer`. Received: {name}=3."
    )

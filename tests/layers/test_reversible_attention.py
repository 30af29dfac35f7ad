"""Reversible stacks of the Reformer's own attention, beside plain autodiff."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import ChunkedSelfAttention
from keras_xf.layers import FeedForward
from keras_xf.layers import LSHSelfAttention
from keras_xf.layers import ReversibleSequence
from keras_xf.layers import Sublayer

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "compiled": lambda function: tf.function(function, jit_compile=True),
}
# Of odd length, in four chunks, with padding left and in the middle.
SHAPE = (2, 13, 8)
MASK = np.array([np.arange(13) > 1, np.isin(np.arange(13), (6, 9)) < 1])
UPSTREAM = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype("float32")


@pytest.fixture
def streams():
    streams = np.random.default_rng(0).normal(size=(2, *SHAPE))
    return [tf.constant(x, "float32") for x in streams]


def make_pair(attention, dropout, others=None):
    """The same stack twice, reversible and not, with the same weights."""
    others = dropout if others is None else others
    pair = []
    for reversible in (True, False):
        blocks = []
        for n, make in enumerate(attention):
            layer = make(
                num_heads=2,
                key_dim=4,
                chunk_length=4,
                causal=n % 2 == 0,
                dropout=dropout,
                seed=3 * n,
            )
            other = FeedForward(12, dropout=others, seed=3 * n + 1)
            blocks.append(
                [
                    Sublayer(sublayer, dropout=others, seed=3 * n + 2)
                    for sublayer in (layer, other)
                ]
            )
        stack = ReversibleSequence(blocks, reversible)
        stack.build((SHAPE, SHAPE))
        pair.append(stack)
    pair[1].set_weights(pair[0].get_weights())
    return pair


def lsh(num_hashes):
    return functools.partial(LSHSelfAttention, num_hashes=num_hashes)


def feed_forward(dropout, seed, **arguments):
    return FeedForward(12, dropout=dropout, seed=seed)


def train(stack, streams):
    """Both streams, and gradients for them and for the weights."""
    with tf.GradientTape() as tape:
        tape.watch(streams)
        outputs = stack(streams, padding_mask=MASK, training=True)
        real = tf.where(MASK[:, :, None], tf.stack(outputs), 0.0)
        loss = tf.reduce_sum(UPSTREAM * real)
    weights = [v.value for v in stack.trainable_variables]
    return [*outputs, *tape.gradient(loss, [*streams, *weights])]


def compare(pair, streams, mode="eager", num_steps=1):
    """Compares outputs and gradients of some steps; returns all outputs."""

    step = MODES[mode](lambda *streams: train(pair[0], list(streams)))
    outputs = []
    for _ in range(num_steps):
        reversible, plain = step(*streams), train(pair[1], streams)
        for a, b in zip(reversible, plain, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * np.max(np.abs(b)))
        outputs.append(reversible[0])
    return outputs


@pytest.mark.parametrize(
    ("attention", "dropout", "mode"),
    [
        (lsh(1), 0.0, "eager"),
        (lsh(4), 0.3, "eager"),
        (lsh(4), 0.3, "graph"),
        (lsh(1), 0.3, "compiled"),
        (ChunkedSelfAttention, 0.3, "eager"),
    ],
)
def test_gradients_equal_those_of_autodiff(streams, attention, dropout, mode):
    # Keras drops others when compiled; attention does not.
    others = 0.0 if mode == "compiled" else dropout
    pair = make_pair([attention], dropout, others)
    first, second = compare(pair, streams, mode, num_steps=2)
    # New rotations and new noise each time, the same for both.
    assert np.any(first != second)


def test_gradients_equal_those_of_autodiff_at_depth_24(streams):
    # LSH in each block would take three times as long.
    attention = [lsh(1), *5 * [feed_forward]]
    compare(make_pair(4 * attention, dropout=0.3), streams)

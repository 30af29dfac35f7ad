"""Reversible stacks of the Reformer's own attention, beside plain autodiff.

Deep ones are in test_reversible_sequence.py.
"""

import functools

import keras
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
    "graph": functools.partial(tf.function, autograph=False),
    "compiled": functools.partial(
        tf.function, autograph=False, jit_compile=True
    ),
}
# Of odd length, in four chunks, with padding left, in the middle and right.
SHAPE = (3, 13, 8)
PLACE = np.arange(13)
MASK = np.array([PLACE > 1, (PLACE != 6) & (PLACE != 9), PLACE < 9])
UPSTREAM = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype("float32")


@pytest.fixture
def streams():
    streams = np.random.default_rng(0).normal(size=(2, *SHAPE))
    return [tf.constant(x, "float32") for x in streams]


def make_pair(attention, dropout, depth):
    """The same blocks twice, reversible and not, with the same weights."""
    keras.utils.set_random_seed(0)
    pair = []
    for reversible in (True, False):
        blocks = []
        for number in range(depth):
            layers = [
                attention(
                    num_heads=2,
                    key_dim=4,
                    chunk_length=4,
                    dropout=dropout,
                    seed=3 * number + 1,
                ),
                FeedForward(12, dropout=dropout, seed=3 * number + 2),
            ]
            blocks.append(
                [Sublayer(x, dropout=dropout, seed=number) for x in layers]
            )
        stack = ReversibleSequence(blocks, reversible)
        stack.build((SHAPE, SHAPE))
        pair.append(stack)
    pair[1].set_weights(pair[0].get_weights())
    return pair


def lsh(num_hashes, causal=False):
    return functools.partial(
        LSHSelfAttention, num_hashes=num_hashes, causal=causal
    )


def train(stack, streams):
    """Both streams, and gradients for them and for the weights."""
    with tf.GradientTape() as tape:
        tape.watch(streams)
        outputs = stack(streams, padding_mask=MASK, training=True)
        real = tf.where(MASK[:, :, None], tf.stack(outputs), 0.0)
        loss = tf.reduce_sum(UPSTREAM * real)
    weights = [v.value for v in stack.trainable_variables]
    return [*outputs, *tape.gradient(loss, [*streams, *weights])]


@pytest.mark.parametrize(
    ("attention", "dropout", "depth", "mode"),
    [
        (lsh(1, causal=True), 0.0, 1, "eager"),
        (lsh(8), 0.3, 2, "eager"),
        (lsh(2, causal=True), 0.3, 2, "graph"),
        (lsh(1), 0.3, 1, "compiled"),
        (lsh(4, causal=True), 0.3, 2, "compiled"),
        (ChunkedSelfAttention, 0.3, 2, "eager"),
        (
            functools.partial(ChunkedSelfAttention, causal=True),
            *(0.3, 2, "compiled"),
        ),
    ],
)
def test_gradients_equal_those_of_autodiff(
    streams, attention, dropout, depth, mode
):
    # Graphs draw the noise that eager execution draws, and need no tracing of
    # what is compared with; compiled, Keras's dropout draws another.
    modes = (mode, mode if mode == "compiled" else "eager")
    reverse, keep = (
        MODES[how](lambda *streams, stack=stack: train(stack, list(streams)))
        for how, stack in zip(
            modes, make_pair(attention, dropout, depth), strict=True
        )
    )
    outputs = []
    for _ in range(2):
        reversible, plain = reverse(*streams), keep(*streams)
        for a, b in zip(reversible, plain, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * np.max(np.abs(b)))
        outputs.append(reversible[0])
    # New rotations and new noise each time, the same for both.
    assert np.any(outputs[0] != outputs[1])

"""Tests of what compiled reversible stacks keep, by XLA's own account."""

import tensorflow as tf

from keras_xf.layers import ChunkedFeedForward
from keras_xf.layers import LSHSelfAttention
from keras_xf.layers import ReversibleSequence
from keras_xf.layers import Sublayer
from tests.compiled_programs import compiled_program
from tests.compiled_programs import temporaries

LENGTH, DIM, WIDTH, NUM_HEADS, NUM_HASHES = 4096, 16, 32, 2, 2


def temporaries_of(depth):
    """Bytes that a step with all gradients takes beside what it is given."""
    stack = ReversibleSequence(
        [
            (
                # Two lots.
                Sublayer(
                    LSHSelfAttention(
                        NUM_HEADS,
                        DIM // NUM_HEADS,
                        num_hashes=NUM_HASHES,
                        dropout=0.1,
                    ),
                    dropout=0.1,
                ),
                Sublayer(
                    ChunkedFeedForward(
                        WIDTH, chunk_length=LENGTH // 4, dropout=0.1
                    ),
                    dropout=0.1,
                ),
            )
            for _ in range(depth)
        ]
    )
    shape = (1, LENGTH, DIM)
    stack.build((shape, shape))

    @tf.function(jit_compile=True, autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = sum(tf.nn.l2_loss(y) for y in stack((x, x), training=True))
        return tape.gradient(loss, [x, *stack.trainable_variables])

    return temporaries(compiled_program(step, tf.zeros(shape)))


def test_a_further_block_keeps_its_buckets_and_no_activations():
    more = temporaries_of(3) - temporaries_of(2)
    # Buckets, and the orders that XLA may keep of them, take half of it.
    activation = 4 * LENGTH * DIM
    assert more < activation

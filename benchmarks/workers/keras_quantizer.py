"""A training step of our VQEMA: outputs, loss, gradient, moving averages."""

import answering
import keras
import tensorflow as tf
import vectors

from keras_xf import layers


def prepare(case, sizes):
    """A step, in one function."""
    inputs, codes, upstream = map(tf.convert_to_tensor, vectors.vectors(sizes))
    layer = layers.VQEMA(sizes["num_codes"], seed=0)
    layer.build(inputs.shape)
    layer.set_codebook(codes)

    @tf.function(jit_compile=sizes["xla"], autograph=False)
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            (loss,) = layer.losses
            total = tf.reduce_sum(outputs * upstream) + loss
        return loss, tape.gradient(total, inputs)

    def call():
        loss, gradient = step()
        # Waits for it, without a copy of what may be large.
        return float(loss), float(gradient[0, 0])

    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return call, versions


if __name__ == "__main__":
    answering.answer(prepare)

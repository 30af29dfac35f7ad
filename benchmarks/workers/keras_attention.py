"""One layer of self-attention on Keras: ours, LSH or dense, or Keras's own.

All compute the same thing: projections of the inputs, attention of heads, and
the projection of what the heads say.
"""

import answering
import attention_inputs
import keras
import tensorflow as tf

from benchmarks import attention_layers


def prepare(case, sizes):
    """The layer's outputs, or these and all gradients, in one function."""
    keras.utils.set_random_seed(0)
    layer, attend = attention_layers.build_attention(
        sizes["implementation"], sizes
    )
    inputs, upstream = map(
        tf.convert_to_tensor, attention_inputs.attention_inputs(sizes)
    )
    variables = [weight.value for weight in layer.trainable_weights]

    def forward():
        return attend(inputs, training=False)

    def training():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([inputs, *variables])
            outputs = attend(inputs, training=True)
        gradients = tape.gradient(
            outputs, [inputs, *variables], output_gradients=upstream
        )
        return outputs, gradients

    function = tf.function(
        {"forward": forward, "training": training}[case],
        jit_compile=sizes["xla"],
        autograph=False,
    )

    def call():
        # Waits for it, without a copy of what may be large.
        last = tf.nest.flatten(function())[-1]
        return float(last[(0,) * len(last.shape)])

    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return call, versions


if __name__ == "__main__":
    answering.answer(prepare)

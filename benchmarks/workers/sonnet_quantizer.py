"""A training step of Sonnet's VectorQuantizerEMA."""

import answering
import sonnet as snt
import tensorflow as tf
import vectors


def prepare(case, sizes):
    """A step, in one function."""
    inputs, codes, upstream = map(tf.convert_to_tensor, vectors.vectors(sizes))
    layer = snt.nets.VectorQuantizerEMA(
        embedding_dim=sizes["dim"],
        num_embeddings=sizes["num_codes"],
        commitment_cost=0.25,
        decay=0.99,
    )
    layer.embeddings.assign(tf.transpose(codes))

    @tf.function(jit_compile=sizes["xla"], autograph=False)
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            results = layer(inputs, is_training=True)
            total = tf.reduce_sum(results["quantize"] * upstream)
            total += results["loss"]
        return results["loss"], tape.gradient(total, inputs)

    def call():
        loss, gradient = step()
        return float(loss), float(gradient[0, 0])

    versions = {"tensorflow": tf.__version__, "sonnet": snt.__version__}
    return call, versions


if __name__ == "__main__":
    answering.answer(prepare)

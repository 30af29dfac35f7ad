"""Trains our model of Sonnet's example."""

import keras
import tensorflow as tf
import vq_vae_training

from keras_xf import models


def make(settings, weights, variance):
    """A training step, its variables, and versions."""
    preset = models.vq_vae_preset("sonnet")
    preset["bottleneck_options"] |= settings["options"]
    model = models.build_vq_vae(**preset, seed=settings["seed"])
    codes = model.get_layer("codes")
    codes.set_codebook(weights["codes"])
    for name in vq_vae_training.CONVOLUTIONS:
        half = model.get_layer(name.split("/")[0])
        layer = half.get_layer(name.replace("/", "_"))
        layer.kernel.assign(weights[name])
    optimizer = keras.optimizers.Adam(settings["learning_rate"], epsilon=1e-8)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=settings["xla"], autograph=False)
    def compiled(images):
        codes.code_usage.reset_state()
        with tf.GradientTape() as tape:
            outputs = model({"images": images}, training=True)
            difference = outputs["reconstruction"] - images
            error = tf.reduce_mean(difference**2) / variance
            loss = error + tf.add_n(model.losses)
        trainable = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in trainable])
        optimizer.apply(gradients, trainable)
        usage = codes.code_usage.result()
        return error, usage[f"{codes.code_usage.prefix}perplexity"]

    def variables():
        # Hits are counted anew in each step.
        return model.variables + optimizer.variables

    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    return (
        lambda images: compiled(tf.convert_to_tensor(images)),
        variables,
        versions,
    )


if __name__ == "__main__":
    vq_vae_training.train(make)

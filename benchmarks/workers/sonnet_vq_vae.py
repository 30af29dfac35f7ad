"""Trains Sonnet's example of a VQ-VAE, as its notebook has it."""

import sonnet as snt
import tensorflow as tf
import vq_vae_training


class ResidualStack(snt.Module):
    """Two blocks of ReLU, 3x3, ReLU, 1x1, and a ReLU."""

    def __init__(self, name):
        super().__init__(name=name)
        self.inner = [snt.Conv2D(32, 3, name=f"inner_{i}") for i in range(2)]
        self.outer = [snt.Conv2D(128, 1, name=f"outer_{i}") for i in range(2)]

    def __call__(self, x):
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x += outer(tf.nn.relu(inner(tf.nn.relu(x))))
        return tf.nn.relu(x)


class Example(snt.Module):
    """Encoder, quantizer and decoder."""

    def __init__(self):
        super().__init__(name="example")
        self.halvings = [
            snt.Conv2D(64, 4, stride=2, name="halving_0"),
            snt.Conv2D(128, 4, stride=2, name="halving_1"),
            snt.Conv2D(128, 3, name="encoder_middle"),
        ]
        self.encoder_stack = ResidualStack("encoder_stack")
        self.vectors = snt.Conv2D(64, 1, name="vectors")
        self.quantizer = snt.nets.VectorQuantizerEMA(
            embedding_dim=vq_vae_training.CODE_DIM,
            num_embeddings=vq_vae_training.NUM_CODES,
            commitment_cost=0.25,
            decay=0.99,
        )
        self.decoder_middle = snt.Conv2D(128, 3, name="decoder_middle")
        self.decoder_stack = ResidualStack("decoder_stack")
        self.doubling_1 = snt.Conv2DTranspose(64, 4, stride=2)
        self.doubling_0 = snt.Conv2DTranspose(3, 4, stride=2)

    def __call__(self, images, is_training):
        """Reconstruction of images in `[-0.5, 0.5]`, and the quantizer's."""
        x = images
        for convolution in self.halvings:
            x = tf.nn.relu(convolution(x))
        x = self.vectors(self.encoder_stack(x))
        results = self.quantizer(x, is_training=is_training)
        x = self.decoder_stack(self.decoder_middle(results["quantize"]))
        return self.doubling_0(tf.nn.relu(self.doubling_1(x))), results

    def convolutions(self):
        """All of them, by the names of `CONVOLUTIONS`."""
        found = dict(
            zip(
                ("encoder/halving_0", "encoder/halving_1", "encoder/middle"),
                self.halvings,
                strict=True,
            )
        )
        for half, stack in (
            ("encoder", self.encoder_stack),
            ("decoder", self.decoder_stack),
        ):
            for index in range(2):
                found[f"{half}/block_{index}_inner"] = stack.inner[index]
                found[f"{half}/block_{index}_outer"] = stack.outer[index]
        return found | {
            "encoder/vectors": self.vectors,
            "decoder/middle": self.decoder_middle,
            "decoder/doubling_1": self.doubling_1,
            "decoder/doubling_0": self.doubling_0,
        }


def make(settings, weights, variance):
    """A training step, its variables, and versions."""
    model = Example()
    model(tf.zeros((1, 32, 32, 3)), is_training=False)
    model.quantizer.embeddings.assign(weights["codes"].T)
    for name, convolution in model.convolutions().items():
        convolution.w.assign(weights[name])
    optimizer = snt.optimizers.Adam(settings["learning_rate"])

    @tf.function(jit_compile=settings["xla"], autograph=False)
    def compiled(images):
        images -= 0.5
        with tf.GradientTape() as tape:
            outputs, results = model(images, is_training=True)
            error = tf.reduce_mean((outputs - images) ** 2) / variance
            loss = error + results["loss"]
        trainable = model.trainable_variables
        optimizer.apply(tape.gradient(loss, trainable), trainable)
        return error, results["perplexity"]

    def variables():
        return [*model.variables, *optimizer.variables]

    versions = {"tensorflow": tf.__version__, "sonnet": snt.__version__}
    return (
        lambda images: compiled(tf.convert_to_tensor(images)),
        variables,
        versions,
    )


if __name__ == "__main__":
    vq_vae_training.train(make)

"""Small autoencoders around each bottleneck of as many codes."""

import keras
import numpy as np
from keras import ops

from keras_xf import layers
from keras_xf.checks import check

BITS = 14
NUM_CODES = 2**BITS
# Halves and sevenths of a vector are whole.
CODE_DIM = 56
HIDDEN_DIM = 256


def _dvq(parts, **options):
    return lambda steps: layers.DVQ(
        2 ** (BITS // parts), parts, seed=1, **options
    )


def _gumbel_softmax(steps):
    # From 2 to 0.5, as in fairseq, in the first half.
    temperature = keras.optimizers.schedules.ExponentialDecay(
        2.0, max(steps // 2, 1), 0.25
    )
    return layers.GumbelSoftmax(
        NUM_CODES, temperature, min_temperature=0.5, seed=1
    )


# Each makes a layer for a number of steps.
BOTTLENECKS = {
    "vq": lambda steps: layers.VQ(NUM_CODES, seed=1),
    "vq_ema": lambda steps: layers.VQEMA(NUM_CODES, seed=1),
    "vq_ema_restart": lambda steps: layers.VQEMA(
        NUM_CODES, restart=layers.Restart(), seed=1
    ),
    "dvq_2_sliced": _dvq(2),
    "dvq_2_projected": _dvq(2, projected=True),
    "dvq_7_sliced": _dvq(7),
    "dvq_7_projected": _dvq(7, projected=True),
    "dvq_2_sliced_restart": _dvq(2, restart=layers.Restart()),
    "dvq_7_sliced_restart": _dvq(7, restart=layers.Restart()),
    "semantic_hashing": lambda steps: layers.SemanticHashing(BITS, seed=1),
    "gumbel_softmax": _gumbel_softmax,
}


class Autoencoder(keras.Model):
    """An encoder of two hidden layers, a bottleneck, a decoder alike.

    Args:
        data: `collapse_data.Patches` or `Bytes`.
        bottleneck: Name in `BOTTLENECKS`.
        steps: Training steps, which schedules go by.
    """

    def __init__(self, data, bottleneck: str, steps: int):
        super().__init__()
        check(
            bottleneck in BOTTLENECKS,
            f"`bottleneck` must be one of {tuple(BOTTLENECKS)}.",
            bottleneck=bottleneck,
        )
        self.is_text = len(data.shape) == 1
        self._shape = data.shape
        self._variance = None if self.is_text else data.variance
        width = int(np.prod(data.shape)) * (256 if self.is_text else 1)
        if self.is_text:
            self.embedding = keras.layers.Embedding(256, 16)
        self.encoder = keras.Sequential([*_hidden(), _dense(CODE_DIM)])
        self.bottleneck = BOTTLENECKS[bottleneck](steps)
        self.decoder = keras.Sequential([*_hidden(), _dense(width)])

    def call(self, inputs, training=False):
        vectors = self._encode(inputs)
        return self._decode(self.bottleneck(vectors, training=training))

    def loss_of(self, inputs, outputs):
        """What is minimized but for the bottleneck's own: a mean.

        Of patches the squared error by the variance, of bytes the nats.
        """
        if self.is_text:
            return ops.mean(
                keras.losses.sparse_categorical_crossentropy(
                    inputs, outputs, from_logits=True
                )
            )
        return ops.mean((outputs - _scaled(inputs)) ** 2) / self._variance

    def judge(self, inputs):
        """Codes of inputs and what is read of them again.

        Returns:
            int32 codes `(batch,)`, each one of all joint codes; the loss; and
            the share of bytes that are right, 0 for patches.
        """
        indices = self.bottleneck.encode(self._encode(inputs))
        outputs = self._decode(self.bottleneck.decode_from_indices(indices))
        right = 0.0
        if self.is_text:
            best = ops.cast(ops.argmax(outputs, axis=-1), "uint8")
            right = ops.mean(ops.cast(best == inputs, "float32"))
        codes = self.bottleneck.to_code_ids(indices)
        return codes, self.loss_of(inputs, outputs), right

    def _encode(self, inputs):
        x = self.embedding(inputs) if self.is_text else _scaled(inputs)
        return self.encoder(ops.reshape(x, (-1, int(np.prod(x.shape[1:])))))

    def _decode(self, vectors):
        outputs = self.decoder(vectors)
        classes = (256,) if self.is_text else ()
        return ops.reshape(outputs, (-1, *self._shape, *classes))


def _hidden():
    return [keras.layers.Dense(HIDDEN_DIM, "relu") for _ in range(2)]


def _dense(width):
    return keras.layers.Dense(width)


def _scaled(images):
    return ops.cast(images, "float32") / 255.0 - 0.5

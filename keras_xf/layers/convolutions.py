"""Convolutions of batches that may be empty."""

import keras

from keras_xf.ops.empty_batches import never_empty


@keras.saving.register_keras_serializable(package="keras_xf")
class Convolution(keras.layers.Conv2D):
    """Keras's convolution, of no rows too.

    A replica of a strategy may get none of a batch that is smaller than the
    others.
    """

    def call(self, inputs):
        return never_empty(super().call, inputs)


@keras.saving.register_keras_serializable(package="keras_xf")
class TransposedConvolution(keras.layers.Conv2DTranspose):
    """Keras's transposed convolution, of no rows too."""

    def call(self, inputs):
        return never_empty(super().call, inputs)

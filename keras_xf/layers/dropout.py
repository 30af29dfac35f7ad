"""Dropout (Srivastava et al., 2014) that is fast under XLA."""

import keras

from keras_xf.checks import check
from keras_xf.ops.dropout import drop


@keras.saving.register_keras_serializable(package="keras_xf")
class Dropout(keras.layers.Layer):
    """Zeroes a fraction of its inputs in training and scales the others up.

    In `keras.layers.Dropout`'s place, which XLA makes very slow on a CPU; see
    `keras_xf.ops.dropout`.

    Masks pass through unchanged; masked positions are dropped alike.

    Args:
        rate: Fraction that is dropped.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of any shape.
        training: Whether to drop.

    Output shape:
        That of the inputs.

    Example:

    >>> keras_xf.layers.Dropout(0.5)(np.ones((2, 3)), training=True).shape
    TensorShape([2, 3])

    Reference:
        [Srivastava et al., 2014](https://jmlr.org/papers/v15/srivastava14a.html)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        check(0 <= rate < 1, "`rate` must lie in [0, 1).", rate=rate)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        # It has no weights.
        pass

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        return drop(inputs, self.rate, self.seed_generator)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}

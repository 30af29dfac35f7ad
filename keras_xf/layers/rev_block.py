"""One reversible residual block (Gomez et al., 2017)."""

import keras

from keras_xf.checks import check
from keras_xf.layers.reversible_sequence import ReversibleSequence


@keras.saving.register_keras_serializable(package="keras_xf")
class RevBlock(keras.layers.Layer):
    """Two residual streams, each of which learns from the other.

    It computes `y1 = x1 + f(x2)`, `y2 = x2 + g(y1)`, equation (9) of the
    Reformer, as a `ReversibleSequence` of one block does, where all else is
    said. Several of these keep each other's outputs in training; a
    `ReversibleSequence` of several blocks keeps those of the last alone.

    Masks reach layers that take a `padding_mask` or Keras's `mask`.

    Args:
        f: Layer of one input whose output has its shape.
        g: Layer of one input whose output has its shape.
        reversible: Whether the gradient reconstructs the inputs from the
            outputs. If not, values and seeds are the same and all activations
            are kept.
        **kwargs: `keras.layers.Layer` arguments, such as `name`. A `dtype` of
            half precision stands for float32.

    Call arguments:
        inputs: Pair of float tensors `(batch, ..., dim)` of one shape.
        padding_mask: Boolean `(batch, length)`, True where a position is real.
        training: Whether `f` and `g` are trained.

    Output shape:
        A pair of `(batch, ..., dim)`.

    Example:

    >>> layer = keras_xf.layers.RevBlock(
    ...     keras_xf.layers.Sublayer(keras_xf.layers.SelfAttention(2, 4)),
    ...     keras_xf.layers.Sublayer(keras_xf.layers.FeedForward(32)),
    ... )
    >>> y1, y2 = layer((np.ones((2, 5, 8)), np.ones((2, 5, 8))))
    >>> y1.shape
    TensorShape([2, 5, 8])

    Reference:
        [Gomez et al., 2017](https://arxiv.org/abs/1707.04585)
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451), section 3
    """

    def __init__(
        self,
        f: keras.layers.Layer,
        g: keras.layers.Layer,
        reversible: bool = True,
        **kwargs,
    ):
        for name, layer in (("f", f), ("g", g)):
            check(
                isinstance(layer, keras.layers.Layer),
                f"`{name}` must be a `keras.layers.Layer`.",
                **{name: layer},
            )
        sequence = ReversibleSequence(
            [(f, g)],
            reversible,
            dtype=kwargs.pop("dtype", None),
            name="sequence",
        )
        super().__init__(dtype=sequence.dtype_policy, autocast=False, **kwargs)
        self.sequence = sequence
        self.supports_masking = True

    def build(self, input_shape):
        self.sequence.build(input_shape)

    def call(self, inputs, padding_mask=None, training=False):
        return self.sequence(
            inputs, padding_mask=padding_mask, training=training
        )

    def compute_output_shape(self, input_shape):
        return self.sequence.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs, padding_mask=None, training=False):
        return self.sequence.compute_output_spec(inputs)

    def get_config(self):
        (f, g), *_ = self.sequence.get_config()["blocks"]
        return {
            **super().get_config(),
            "f": f,
            "g": g,
            "reversible": self.sequence.reversible,
        }

    @classmethod
    def from_config(cls, config):
        f = keras.saving.deserialize_keras_object(config["f"])
        # The place of `f`, if it is both.
        g = (
            f
            if isinstance(config["g"], int)
            else keras.saving.deserialize_keras_object(config["g"])
        )
        return cls(**{**config, "f": f, "g": g})

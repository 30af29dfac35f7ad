"""A layer between normalization and dropout: half a reversible block."""

import keras

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.wrapping import build_wrapped
from keras_xf.layers.wrapping import mask_arguments
from keras_xf.ops.dropout import drop


@keras.saving.register_keras_serializable(package="keras_xf")
class Sublayer(keras.layers.Layer):
    """Normalizes a layer's input and drops some of its output.

    It computes `dropout(layer(norm(x)))`, which is what a `Residual` adds to
    its input: a function for the blocks of a `ReversibleSequence`, which add
    it to the other stream. The normalization reads its input at full precision
    and is computed in it; the layer gets what its own dtype policy asks for.

    Masks are the inner layer's matter; one that takes no `padding_mask` is not
    told.

    Args:
        layer: A layer of one input whose output has its shape. If it returns a
            pair, as a layer called with a state does, the second is returned
            as it is.
        dropout: Fraction of the inner layer's output dropped in training.
        epsilon: Added to the variance. The default is that of Ba et al.'s
            code and of PyTorch.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        padding_mask: Boolean `(batch, length)`, True where an input is real.
        training: Whether to drop; the inner layer is told by Keras.
        **kwargs: Other keyword arguments of the inner layer, such as `state`,
            `record` and `return_record`.

    Output shape:
        That of the inputs; or a pair of it and the inner layer's second
        output.

    Example:

    >>> layer = keras_xf.layers.Sublayer(keras_xf.layers.FeedForward(32))
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451), section 3
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            isinstance(layer, keras.layers.Layer),
            "`layer` must be a `keras.layers.Layer`.",
            layer=layer,
        )
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        check(epsilon > 0, "`epsilon` must be positive.", epsilon=epsilon)
        self.layer = layer
        self.dropout = dropout
        self.epsilon = epsilon
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        # Streams are wider than what is computed of them.
        self.autocast = False

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        self._dim = input_shape[-1]
        self.norm = keras.layers.LayerNormalization(
            epsilon=self.epsilon, dtype=self.variable_dtype, name="norm"
        )
        self.norm.build(input_shape)
        build_wrapped(self.layer, input_shape)

    def call(self, inputs, padding_mask=None, training=False, **kwargs):
        check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=self._dim)
        kwargs |= mask_arguments(self.layer, padding_mask)
        outputs = self.layer(self.norm(inputs), **kwargs)
        outputs, *rest = outputs if isinstance(outputs, tuple) else (outputs,)
        check(
            tuple(outputs.shape) == tuple(inputs.shape),
            "`layer` must keep the shape of its inputs.",
            inputs=tuple(inputs.shape),
            outputs=tuple(outputs.shape),
        )
        outputs = keras.ops.cast(outputs, self.compute_dtype)
        if training and self.dropout:
            outputs = drop(outputs, self.dropout, self.seed_generator)
        return (outputs, *rest) if rest else outputs

    @property
    def keeps_record(self) -> bool:
        """Whether the inner layer has a record to keep."""
        return getattr(self.layer, "keeps_record", False)

    def initial_state(self, batch_size: int, max_length: int) -> dict:
        """The inner layer's state before the first position."""
        return self.layer.initial_state(batch_size, max_length)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_output_spec(
        self, inputs, padding_mask=None, training=False, **kwargs
    ):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not kwargs:
            return outputs
        kwargs |= mask_arguments(self.layer, padding_mask)
        inner = self.layer.compute_output_spec(inputs, **kwargs)
        return (outputs, *inner[1:]) if isinstance(inner, tuple) else outputs

    def get_config(self):
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "dropout": self.dropout,
            "epsilon": self.epsilon,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})

"""Residual connection around a layer, with its normalization."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.ops.dropout import drop


@keras.saving.register_keras_serializable(package="keras_xf")
class Residual(keras.layers.Layer):
    """Adds a layer's output to its input, and normalizes one of the two.

    With `norm_first` it computes `x + dropout(layer(norm(x)))`, which trains
    without a warm-up (Xiong et al., 2020); the stack's output then wants a
    normalization of its own. Without, it computes the original
    `norm(x + dropout(layer(x)))`.

    Masks are the inner layer's matter: they reach it by keyword. So does a
    `memory`, of earlier inputs, which is normalized where they are; no gradient
    goes into it.

    Args:
        layer: A layer of one input whose output has its shape. If it returns a
            pair, as a layer called with a state does, the first is added and
            the second returned as it is.
        norm_first: Whether to normalize the inner layer's input rather than
            the sum.
        dropout: Fraction of the inner layer's output dropped in training.
        epsilon: Added to the variance. The default is that of Ba et al.'s
            code and of PyTorch.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(..., dim)`.
        training: Whether to drop; the inner layer is told by Keras.
        **kwargs: Keyword arguments of the inner layer.

    Output shape:
        That of the inputs; or a pair of it and the inner layer's second
        output.

    Example:

    >>> layer = keras_xf.layers.Residual(keras_xf.layers.FeedForward(32))
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.1
        [Xiong et al., 2020](https://arxiv.org/abs/2002.04745)
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        norm_first: bool = True,
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
        self.norm_first = norm_first
        self.dropout = dropout
        self.epsilon = epsilon
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        self._dim = input_shape[-1]
        self.norm = keras.layers.LayerNormalization(
            epsilon=self.epsilon, dtype=self.dtype_policy, name="norm"
        )
        self.norm.build(input_shape)
        if not self.layer.built:
            self.layer.build(input_shape)

    def call(self, inputs, training=False, **kwargs):
        check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=self._dim)
        x = inputs
        if self.norm_first:
            x = self.norm(inputs)
            if kwargs.get("memory") is not None:
                # What the layer reads before its inputs, and like them. No
                # gradient goes into it, but those of the normalization come
                # from it too.
                memory = ops.stop_gradient(kwargs["memory"])
                kwargs["memory"] = self.norm(memory)
                kwargs["stop_memory_gradient"] = False
        outputs = self.layer(x, **kwargs)
        outputs, *rest = outputs if isinstance(outputs, tuple) else (outputs,)
        check(
            tuple(outputs.shape) == tuple(inputs.shape),
            "`layer` must keep the shape of its inputs.",
            inputs=tuple(inputs.shape),
            outputs=tuple(outputs.shape),
        )
        if training and self.dropout:
            outputs = drop(outputs, self.dropout, self.seed_generator)
        outputs = inputs + outputs
        if not self.norm_first:
            outputs = self.norm(outputs)
        return (outputs, *rest) if rest else outputs

    def initial_state(self, batch_size: int, max_length: int) -> dict:
        """The inner layer's state before the first position."""
        return self.layer.initial_state(batch_size, max_length)

    def with_layer(self, layer: keras.layers.Layer) -> "Residual":
        """A connection around another layer, with this very normalization.

        Args:
            layer: A layer that is built, such as one of the same weights with
                other options.

        Raises:
            ValueError: If this one has no weights yet.
        """
        check(self.built, "`residual` must be built.", residual=self.name)
        other = type(self)(**{**super().get_config(), **self._options(layer)})
        other.norm = self.norm
        other._dim = self._dim
        other.built = True
        return other

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_output_spec(self, inputs, training=False, **kwargs):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        inner = self.layer.compute_output_spec(inputs, **kwargs)
        return (outputs, *inner[1:]) if isinstance(inner, tuple) else outputs

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), **self._options(layer)}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})

    def _options(self, layer):
        return {
            "layer": layer,
            "norm_first": self.norm_first,
            "dropout": self.dropout,
            "epsilon": self.epsilon,
            "seed": self.seed,
        }

"""Content and position biases that layers share (Dai et al., 2019)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.initializers.own_draws import own_draws


@keras.saving.register_keras_serializable(package="keras_xf")
class RelativeBiases(keras.layers.Layer):
    """Holds the two biases of relative attention, for all layers of a model.

    They are the paper's `u` and `v`, of which its first models have one pair
    for all layers. `RelativeAttention` layers with `own_biases=False` take
    them as `biases`.

    Masks do not matter to it.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        biases_initializer: Initializer of both.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Any tensor of the model; its values do not matter.

    Output shape:
        A pair, content bias and position bias, of `(num_heads, key_dim)` each.

    Example:

    >>> layer = keras_xf.layers.RelativeBiases(num_heads=2, key_dim=4)
    >>> content_bias, position_bias = layer(np.ones((2, 5, 8)))
    >>> position_bias.shape
    TensorShape([2, 4])

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860), section 3.3
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        biases_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = as_integer("num_heads", num_heads)
        self.key_dim = as_integer("key_dim", key_dim)
        self.biases_initializer = keras.initializers.get(biases_initializer)

    def build(self, input_shape):
        for place, name in enumerate(("content_bias", "position_bias")):
            weight = self.add_weight(
                name=name,
                shape=(self.num_heads, self.key_dim),
                initializer=own_draws(self.biases_initializer, place),
            )
            setattr(self, name, weight)

    def call(self, inputs):
        return tuple(
            ops.cast(bias, self.compute_dtype)
            for bias in (self.content_bias, self.position_bias)
        )

    def compute_output_spec(self, inputs):
        shape = (self.num_heads, self.key_dim)
        return tuple(
            keras.KerasTensor(shape, dtype=self.compute_dtype) for _ in range(2)
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "biases_initializer": keras.initializers.serialize(
                self.biases_initializer
            ),
        }

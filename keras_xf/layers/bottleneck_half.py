"""What layers that are half of a bottleneck have in common."""

import keras

from keras_xf.checks import check
from keras_xf.layers.bottleneck_layer import BottleneckLayer


class BottleneckHalf(keras.layers.Layer):
    """Holds a bottleneck, and keeps its policy.

    Args:
        layer: The bottleneck.
        **kwargs: `keras.layers.Layer` arguments; the dtype is the bottleneck's
            unless given.
    """

    def __init__(self, layer, **kwargs):
        check(
            isinstance(layer, BottleneckLayer),
            "`layer` must be one of VQ, VQEMA, DVQ, GumbelSoftmax and "
            "SemanticHashing.",
            layer=layer,
        )
        kwargs["dtype"] = kwargs.get("dtype") or layer.dtype_policy
        super().__init__(**kwargs)
        self.layer = layer

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})

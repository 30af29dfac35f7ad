"""A layer on sequences that are padded to a multiple of some length."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.joined_mask import mask_of_all
from keras_xf.layers.wrapping import build_wrapped
from keras_xf.layers.wrapping import mask_arguments


@keras.saving.register_keras_serializable(package="keras_xf")
class PaddedLength(keras.layers.Layer):
    """Pads sequences around a layer, and cuts its output back.

    Layers that look at chunks pad what does not divide into them. Of several
    such layers with chunks of different lengths each does so for itself, unless
    all are given one length that suits all.

    Args:
        layer: A layer that gives what it is given, a sequence or a tuple of
            them, in the same shapes. It should take a `padding_mask`, or
            Keras's `mask`, unless it does not matter to it.
        multiple: What the padded length is a multiple of.
        longer_than: Sequences of this length or shorter are not padded.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, ...)`, or a tuple of several of
            one length. Zeros are added at the end.
        padding_mask: Boolean `(batch, length)`, True where a position is real;
            all are by default. False is added at the end.
        **kwargs: Other keyword arguments of the inner layer.

    Output shape:
        That of the inputs.

    Example:

    >>> attention = keras_xf.layers.SelfAttention(num_heads=2, key_dim=4)
    >>> layer = keras_xf.layers.PaddedLength(attention, multiple=4)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        multiple: int,
        longer_than: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            isinstance(layer, keras.layers.Layer),
            "`layer` must be a `keras.layers.Layer`.",
            layer=layer,
        )
        check(multiple > 0, "`multiple` must be positive.", multiple=multiple)
        check(
            longer_than >= 0,
            "`longer_than` must not be negative.",
            longer_than=longer_than,
        )
        self.layer = layer
        self.multiple = multiple
        self.longer_than = longer_than
        self.supports_masking = True
        # What the inner layer takes, such as float32 streams, is its matter.
        self.autocast = False

    def build(self, input_shape):
        for shape in _shapes(input_shape):
            check_shape("inputs", shape, "(batch, length, ...)")
        build_wrapped(self.layer, input_shape)

    def call(self, inputs, padding_mask=None, **kwargs):
        for x in keras.tree.flatten(inputs):
            check_shape("inputs", x.shape, "(batch, length, ...)")
        batch_size, length = ops.shape(keras.tree.flatten(inputs)[0])[:2]
        padding_mask = mask_of_all(inputs, padding_mask)
        num_added = self._num_added(length)
        if isinstance(num_added, int) and num_added == 0:
            kwargs |= mask_arguments(self.layer, padding_mask)
            return self.layer(inputs, **kwargs)
        if padding_mask is None:
            padding_mask = ops.ones((batch_size, length), "bool")
        padding_mask = _pad(ops.cast(padding_mask, "bool"), num_added)
        kwargs |= mask_arguments(self.layer, padding_mask)
        outputs = self.layer(
            keras.tree.map_structure(lambda x: _pad(x, num_added), inputs),
            **kwargs,
        )
        return keras.tree.map_structure(lambda x: x[:, :length], outputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_output_spec(self, inputs, padding_mask=None, **kwargs):
        # Dtypes are the inner layer's matter, too.
        kwargs |= mask_arguments(self.layer, padding_mask)
        return self.layer.compute_output_spec(inputs, **kwargs)

    def get_config(self):
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "multiple": self.multiple,
            "longer_than": self.longer_than,
        }

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})

    def _num_added(self, length):
        num_added = -length % self.multiple
        if isinstance(length, int):
            return num_added if length > self.longer_than else 0
        return ops.where(length > self.longer_than, num_added, 0)


def _pad(x, num_added):
    batch_size, _, *rest = ops.shape(x)
    added = ops.zeros((batch_size, num_added, *rest), x.dtype)
    return ops.concatenate([x, added], axis=1)


def _shapes(input_shape):
    is_one = input_shape and not isinstance(input_shape[0], (tuple, list))
    return [input_shape] if is_one else input_shape

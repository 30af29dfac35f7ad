"""Vectors to numbers, by a bottleneck."""

import keras

from keras_xf.checks import check_shape
from keras_xf.layers.bottleneck_half import BottleneckHalf


@keras.saving.register_keras_serializable(package="keras_xf")
class CodeEncoder(BottleneckHalf):
    """Writes each vector as one number, by the bottleneck that it is given.

    It is the bottleneck's `encode` as a layer, to be part of a model. Codes of
    several parts are packed, the first part counting the least. Nothing is
    drawn and nothing changes, in training neither.

    What is masked has the number -1, and zeros for a vector.

    Args:
        layer: The bottleneck: `VQ`, `VQEMA`, `DVQ`, `GumbelSoftmax` or
            `SemanticHashing`. Another model may have the same one.
        return_vectors: Whether a call returns what is read from the numbers,
            too: exactly what the bottleneck returns in inference, but for what
            is masked.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`,
            which is the bottleneck's unless given.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        mask: Boolean `(batch, ...)`, True where a vector is real.

    Output shape:
        int32 `(batch, ...)`; with `return_vectors` a pair of it and that of the
        inputs.

    Example:

    >>> bottleneck = keras_xf.layers.DVQ(num_codes=4, num_parts=2)
    >>> keras_xf.layers.CodeEncoder(bottleneck)(np.ones((2, 5, 8))).shape
    TensorShape([2, 5])
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        return_vectors: bool = False,
        **kwargs,
    ):
        super().__init__(layer, **kwargs)
        self.return_vectors = return_vectors
        self.supports_masking = True

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        if not self.layer.built:
            self.layer.build(input_shape)

    def call(self, inputs, mask=None):
        indices = self.layer.encode(inputs, mask=mask)
        code_ids = self.layer.to_code_ids(indices)
        if not self.return_vectors:
            return code_ids
        return code_ids, self.layer.decode_from_indices(indices)

    def compute_mask(self, inputs, previous_mask=None):
        if not self.return_vectors:
            return previous_mask
        return previous_mask, previous_mask

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        return (shape[:-1], shape) if self.return_vectors else shape[:-1]

    def compute_output_spec(self, inputs, mask=None):
        code_ids = keras.KerasTensor(inputs.shape[:-1], dtype="int32")
        if not self.return_vectors:
            return code_ids
        dtype = self.layer.compute_dtype
        return code_ids, keras.KerasTensor(inputs.shape, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "return_vectors": self.return_vectors}

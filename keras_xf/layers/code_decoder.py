"""Numbers to vectors, by a bottleneck."""

import keras

from keras_xf.checks import check
from keras_xf.layers.bottleneck_half import BottleneckHalf
from keras_xf.layers.code_indices import as_code_indices


@keras.saving.register_keras_serializable(package="keras_xf")
class CodeDecoder(BottleneckHalf):
    """Reads each number as the vector that the bottleneck gives for it.

    It is the bottleneck's `decode_from_indices` as a layer, to be part of a
    model: exactly what the bottleneck returns in inference for vectors that
    `CodeEncoder` writes as these numbers. Nothing is drawn and nothing changes.

    For -1, which hides what is masked, it gives zeros.

    Args:
        layer: The bottleneck, which must have its codes: `VQ`, `VQEMA`, `DVQ`,
            `GumbelSoftmax` or `SemanticHashing`. Another model may have the
            same one.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`,
            which is the bottleneck's unless given.

    Call arguments:
        inputs: int32 tensor `(batch, ...)`, below the number of codes. In eager
            execution it is an error if it is not.

    Output shape:
        `(batch, ..., dim)`.

    Example:

    >>> bottleneck = keras_xf.layers.DVQ(num_codes=4, num_parts=2)
    >>> bottleneck.build((None, 8))
    >>> keras_xf.layers.CodeDecoder(bottleneck)(np.array([[3, 15]])).shape
    TensorShape([1, 2, 8])
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs):
        super().__init__(layer, **kwargs)
        check(layer.built, "`layer` must be built.", layer=layer)

    def build(self, input_shape):
        # All that it needs is the bottleneck's.
        pass

    def call(self, inputs):
        code_ids = as_code_indices(inputs, self.layer.count_codes())
        indices = self.layer.from_code_ids(code_ids)
        return self.layer.decode_from_indices(indices)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.layer.vector_dim)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.layer.compute_dtype)

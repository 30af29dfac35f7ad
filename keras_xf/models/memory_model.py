"""A functional model that takes a memory, and is strict about it."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape

_LAYOUT = "(batch, num_layers, memory_length, hidden_dim)"


@keras.saving.register_keras_serializable(package="keras_xf")
class MemoryModel(keras.Model):
    """A functional model whose inputs are a segment and a memory.

    A memory of another model is refused by name, before Keras converts it or
    TensorFlow broadcasts it. Arrays and tensors may stand side by side in the
    dict of inputs, which Keras alone would refuse.

    Args:
        inputs: Dict of `keras.Input`, `token_ids` and `memory` among them.
        outputs: Dict of what was made of them.
        **kwargs: `keras.Model` arguments, such as `name`.
    """

    def __call__(self, inputs, *args, **kwargs):
        if isinstance(inputs, dict) and self.input.keys() <= inputs.keys():
            inputs = {
                name: x
                if isinstance(x, keras.KerasTensor)
                else self._convert(name, x)
                for name, x in inputs.items()
            }
            self._check_memory(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def _convert(self, name, x):
        if hasattr(x, "dtype"):
            return ops.convert_to_tensor(x)
        # Numbers in lists have no dtype of their own.
        return ops.convert_to_tensor(x, self.input[name].dtype)

    def _check_memory(self, inputs):
        memory, expected = inputs["memory"], self.input["memory"]
        _, num_layers, length, dim = expected.shape
        dtype = keras.backend.standardize_dtype(memory.dtype)
        check(
            dtype == expected.dtype,
            f"`memory` must be of the dtype {expected.dtype}.",
            dtype=dtype,
        )
        batch_size = inputs["token_ids"].shape[0]
        batch = {} if batch_size is None else {"batch": batch_size}
        check_shape(
            "memory",
            memory.shape,
            _LAYOUT,
            **batch,
            num_layers=num_layers,
            memory_length=length,
            hidden_dim=dim,
        )
        for name in ("memory_length", "length"):
            check_shape(name, inputs[name].shape, "(batch,)", **batch)

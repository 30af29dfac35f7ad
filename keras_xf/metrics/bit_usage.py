"""How evenly bits are used."""

import keras
from keras import ops

from keras_xf.ops import discrete


class BitUsage(keras.metrics.Metric):
    """Mean over bits of the entropy of each.

    It is 1 where each bit is as often 1 as 0, and 0 where none ever changes.

    A layer makes it and updates it in training, under its own name.

    Args:
        num_bits: Number of bits.
        name: Name of the metric.
        dtype: Of the counts; Keras's `floatx` by default.

    Example:

    >>> usage = keras_xf.metrics.BitUsage(num_bits=2)
    >>> usage.update_state([3.0, 6.0], 6.0)
    >>> float(usage.result())
    0.5
    """

    def __init__(self, num_bits: int, name: str = "bit_entropy", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.ones = self.add_variable(
            (num_bits,), "zeros", self.dtype, name="ones"
        )
        self.total = self.add_variable((), "zeros", self.dtype, name="total")

    def update_state(self, ones, total, sample_weight=None):
        """Adds vectors.

        Args:
            ones: How often each bit was 1, `(num_bits,)`.
            total: Number of vectors.
            sample_weight: None; counts are weighted already.
        """
        self.ones.assign_add(ops.cast(ones, self.dtype))
        self.total.assign_add(ops.cast(total, self.dtype))

    def result(self):
        return discrete.bit_entropy(
            ops.convert_to_tensor(self.ones), ops.convert_to_tensor(self.total)
        )

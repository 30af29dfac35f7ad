"""How evenly bits are used."""

from collections.abc import Callable

import keras
from keras import ops

from keras_xf.ops import discrete


class BitUsage(keras.metrics.Metric):
    """Mean over bits of the entropy of each.

    It is 1 where each bit is as often 1 as 0, and 0 where none ever changes.

    A layer makes it and updates it in training, under its own name. Where
    nothing was counted since the reset, as in evaluation without
    `keras_xf.callbacks.CountInEvaluation`, the result is that of the running
    shares.

    Args:
        num_bits: Number of bits.
        running: Function that returns running shares of ones `(num_bits,)`.
        name: Name of the metric.
        dtype: Of the counts; Keras's `floatx` by default.

    Attributes:
        counts_in_evaluation: Whether the layer that it belongs to counts in
            inference, too. It is looked at when a graph is made.

    Example:

    >>> usage = keras_xf.metrics.BitUsage(num_bits=2)
    >>> usage.update_state([3.0, 6.0], 6.0)
    >>> float(usage.result())
    0.5
    """

    def __init__(
        self,
        num_bits: int,
        running: Callable | None = None,
        name: str = "bit_entropy",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self._running = running
        self.counts_in_evaluation = False
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
        ones = ops.convert_to_tensor(self.ones)
        total = ops.convert_to_tensor(self.total)
        if self._running is not None:
            running = ops.cast(self._running(), self.dtype)
            ones = ops.where(total > 0, ones, running)
            total = ops.maximum(total, 1.0)
        return discrete.bit_entropy(ones, total)

"""Means of the losses that a layer adds."""

import math
from collections.abc import Sequence

import keras
from keras import ops


class LossParts(keras.metrics.Metric):
    """Means over vectors of each of a layer's losses.

    A layer makes it and updates it in training, under its own name. Where
    nothing was counted since the reset results are NaN: no layer knows what an
    evaluation finds, unless `keras_xf.callbacks.CountInEvaluation` takes part.

    Args:
        names: Names of the losses.
        prefix: What the names of the results begin with.
        name: Name of the metric.
        dtype: Of the sums; Keras's `floatx` by default.

    Example:

    >>> parts = keras_xf.metrics.LossParts(["commitment"])
    >>> parts.update_state({"commitment": 0.25}, 3)
    >>> parts.update_state({"commitment": 1.25}, 1)
    >>> float(parts.result()["commitment"])
    0.5
    """

    def __init__(
        self,
        names: Sequence[str],
        prefix: str = "",
        name: str = "loss_parts",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.names = tuple(names)
        self.prefix = prefix
        self.sums = self.add_variable(
            (len(self.names),), "zeros", self.dtype, name="sums"
        )
        self.total = self.add_variable((), "zeros", self.dtype, name="total")

    def update_state(self, losses, total, sample_weight=None):
        """Adds a batch.

        Args:
            losses: A dict of scalars by name: means over the batch.
            total: Number of its vectors.
            sample_weight: None; means are weighted already.
        """
        total = ops.cast(total, self.dtype)
        values = [ops.cast(losses[name], self.dtype) for name in self.names]
        self.sums.assign_add(ops.stack(values) * total)
        self.total.assign_add(total)

    def result(self):
        """A dict of scalars, by prefixed name."""
        total = ops.convert_to_tensor(self.total)
        means = self.sums / ops.maximum(total, 1.0)
        means = ops.where(total > 0, means, math.nan)
        return {
            f"{self.prefix}{name}": means[place]
            for place, name in enumerate(self.names)
        }

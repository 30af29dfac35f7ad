"""How many combinations of codes are in use."""

import math

import keras
from keras import ops

from keras_xf.ops import quantization


class JointUsage(keras.metrics.Metric):
    """Perplexity and number of the combinations of codes, or of bits.

    Parts that are each in full use may still say the same: of combinations
    there are few then. Results are as in `CodeUsage`, of packed indices.

    A layer makes it and updates it in training, under its own name. Where
    nothing was counted since the reset, as in evaluation without
    `keras_xf.callbacks.CountInEvaluation`, results are NaN.

    Args:
        num_codes: Number of combinations, each of which takes a number.
        prefix: What the names of the results begin with.
        name: Name of the metric.
        dtype: Of the counts; Keras's `floatx` by default.

    Example:

    >>> usage = keras_xf.metrics.JointUsage(num_codes=4)
    >>> usage.update_state([2.0, 0.0, 0.0, 2.0])
    >>> float(usage.result()["joint_active_codes"])
    2.0
    """

    def __init__(
        self,
        num_codes: int,
        prefix: str = "",
        name: str = "joint_usage",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.prefix = prefix
        self.hits = self.add_variable(
            (num_codes,), "zeros", self.dtype, name="hits"
        )

    def update_state(self, counts, sample_weight=None):
        """Adds hits.

        Args:
            counts: Hits `(num_codes,)`, of this replica.
            sample_weight: None; counts are weighted already.
        """
        self.hits.assign_add(ops.cast(counts, self.dtype))

    def result(self):
        """A dict of scalars, by prefixed name."""
        hits = ops.convert_to_tensor(self.hits)
        is_counted = ops.sum(hits) > 0
        found = {
            "perplexity": quantization.perplexity(hits),
            "active_codes": quantization.active_codes(hits),
        }
        return {
            f"{self.prefix}joint_{key}": ops.where(is_counted, x, math.nan)
            for key, x in found.items()
        }

"""How much of a codebook is in use."""

from collections.abc import Callable

import keras
from keras import ops

from keras_xf.ops import quantization

# Of the mean of all hits: a code with less is as good as dead.
DEAD_FRACTION = 0.03


class CodeUsage(keras.metrics.Metric):
    """Perplexity, number of active codes and fraction of dead ones.

    Perplexity is the exponential of the entropy of the hits since the last
    reset. It is 1 for one code and at most the number of codes, or of hits: 512
    hits of 512 codes that are equally likely have one of 291. Beside it is
    `running_perplexity`, that of the running counts if there are any, which no
    reset cuts short. Active codes are those with any hit. Dead are those with
    less than 3 % of the mean of all codes' hits, by the running counts if there
    are any.

    Of a codebook in parts each is the mean over parts, with the smallest
    perplexity of a part beside it; combinations are `JointUsage`'s matter.

    A layer makes it and updates it in training, under its own name. Where
    nothing was counted since the reset, as in evaluation without
    `keras_xf.callbacks.CountInEvaluation`, the result is that of the running
    counts; they never reach zero, so that all codes are active that are not
    dead.

    Args:
        parts: Number of parts of the codebook.
        num_codes: Number of codes of a part.
        prefix: What the names of the results begin with.
        running: Function that returns running counts `(parts, num_codes)`.
        name: Name of the metric.
        dtype: Of the counts; Keras's `floatx` by default.

    Attributes:
        counts_in_evaluation: Whether the layer that it belongs to counts in
            inference, too. It is looked at when a graph is made.

    Example:

    >>> usage = keras_xf.metrics.CodeUsage(parts=1, num_codes=4)
    >>> usage.update_state([[2.0, 2.0, 0.0, 0.0]])
    >>> float(usage.result()["active_codes"])
    2.0
    """

    def __init__(
        self,
        parts: int,
        num_codes: int,
        prefix: str = "",
        running: Callable | None = None,
        name: str = "code_usage",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.prefix = prefix
        self._running = running
        self.counts_in_evaluation = False
        self.hits = self.add_variable(
            (parts, num_codes), "zeros", self.dtype, name="hits"
        )

    def update_state(self, counts, sample_weight=None):
        """Adds hits.

        Args:
            counts: Hits `(parts, num_codes)`, of this replica.
            sample_weight: None; counts are weighted already.
        """
        self.hits.assign_add(ops.cast(counts, self.dtype))

    def result(self):
        """A dict of scalars, by prefixed name."""
        hits = ops.convert_to_tensor(self.hits)
        running = hits
        active = quantization.active_codes(hits)
        if self._running is not None:
            running = ops.cast(self._running(), self.dtype)
        dead = quantization.dead_fraction(running, DEAD_FRACTION)
        if self._running is not None:
            is_counted = ops.sum(hits) > 0
            alive = (1 - dead) * running.shape[-1]
            active = ops.where(is_counted, active, alive)
            hits = ops.where(is_counted, hits, running)
        perplexity = quantization.perplexity(hits)
        results = {
            "perplexity": ops.mean(perplexity),
            "active_codes": ops.mean(active),
            "dead_fraction": ops.mean(dead),
        }
        if self._running is not None:
            of_running = quantization.perplexity(running)
            results["running_perplexity"] = ops.mean(of_running)
        if hits.shape[0] > 1:
            results["smallest_perplexity"] = ops.min(perplexity)
        return {f"{self.prefix}{key}": x for key, x in results.items()}

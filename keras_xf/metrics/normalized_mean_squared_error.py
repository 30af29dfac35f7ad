"""Mean squared error in units of the targets' variance."""

import keras
from keras import ops

from keras_xf.checks import check


# The loss has the class's own name in Keras's registry.
@keras.saving.register_keras_serializable(
    package="keras_xf", name="NormalizedMeanSquaredErrorMetric"
)
class NormalizedMeanSquaredError(keras.metrics.Metric):
    """Squared error, averaged over all entries, divided by a variance.

    It is 1 for what predicts the mean and 0 for what predicts all. Without a
    variance it is divided by that of the targets since the last reset; with
    that of the training data it is comparable to
    `losses.NormalizedMeanSquaredError`. Where targets do not vary, or nothing
    was counted, the result is 0.

    Args:
        variance: What it is divided by, if not the targets' own.
        name: Name of the metric.
        dtype: Of the sums; Keras's `floatx` by default.

    Example:

    >>> metric = keras_xf.metrics.NormalizedMeanSquaredError()
    >>> metric.update_state([[0.0, 1.0]], [[0.0, 0.5]])
    >>> float(metric.result())
    0.5
    """

    def __init__(
        self,
        variance: float | None = None,
        name: str = "normalized_mean_squared_error",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        check(
            variance is None or variance > 0,
            "`variance` must be positive.",
            variance=variance,
        )
        self.variance = variance
        # Of examples: a sum of all entries would soon be too coarse.
        self.error, self.first, self.second, self.count = (
            self.add_variable((), "zeros", self.dtype, name=name)
            for name in ("error", "first", "second", "count")
        )
        # What Keras's own losses tell callbacks of `mode="auto"`.
        self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch.

        Args:
            y_true: Float tensor `(batch, ...)`.
            y_pred: Float tensor like it.
            sample_weight: Tensor `(batch,)`; 1 by default.
        """
        y_true = ops.cast(y_true, self.dtype)
        y_pred = ops.cast(y_pred, self.dtype)
        axes = tuple(range(1, len(y_true.shape)))
        weights = ops.ones_like(ops.mean(y_true, axis=axes))
        if sample_weight is not None:
            weights *= ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        for total, values in (
            (self.error, ops.square(y_true - y_pred)),
            (self.first, y_true),
            (self.second, ops.square(y_true)),
            (self.count, ops.ones_like(y_true)),
        ):
            total.assign_add(ops.sum(weights * ops.mean(values, axis=axes)))

    def result(self):
        error = ops.divide_no_nan(self.error, self.count)
        if self.variance is not None:
            return error / self.variance
        mean = ops.divide_no_nan(self.first, self.count)
        square = ops.divide_no_nan(self.second, self.count)
        variance = ops.maximum(square - ops.square(mean), 0.0)
        return ops.divide_no_nan(error, variance)

    def get_config(self):
        return {**super().get_config(), "variance": self.variance}

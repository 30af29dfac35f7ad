"""Cross entropy per token, in bits."""

import math

import keras
from keras import ops

from keras_xf.checks import check


@keras.saving.register_keras_serializable(package="keras_xf")
class BitsPerToken(keras.metrics.Metric):
    """Weighted mean over tokens of `-log2 p(token)`, from logits.

    Every token counts with its weight, whatever the width of its batch.
    (`keras.metrics.Mean`, and what is made of it, averages over each row first:
    a token of a short row would count for more.) The softmax is computed in
    float32 or wider. A mask that Keras has put on the logits is honored like
    a weight of 0. Without any weight so far the result is 0.

    Args:
        name: Name of the metric.
        dtype: Of the sums; Keras's `floatx` by default.

    Example:

    >>> metric = keras_xf.metrics.BitsPerToken()
    >>> metric.update_state([[3, 1]], np.zeros((1, 2, 8)))
    >>> float(metric.result())
    3.0
    """

    def __init__(self, name: str = "bits_per_token", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")
        # What Keras's own losses tell callbacks of `mode="auto"`.
        self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch.

        Args:
            y_true: Integer tensor `(batch, length)`.
            y_pred: Logits `(batch, length, vocabulary)`.
            sample_weight: Tensor `(batch, length)` or `(batch,)`; 1 by default.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        logits = ops.convert_to_tensor(y_pred)
        dtype = keras.backend.result_type(logits.dtype, "float32")
        nats = ops.sparse_categorical_crossentropy(
            ops.convert_to_tensor(y_true),
            ops.cast(logits, dtype),
            from_logits=True,
        )
        weight = None
        if sample_weight is not None:
            weight = _align(ops.cast(sample_weight, self.dtype), nats)
        if mask is not None:
            mask = _align(ops.cast(mask, self.dtype), nats)
            weight = mask if weight is None else weight * mask
        self.update_state_from_nats(nats, weight)

    def update_state_from_nats(self, nats, weight=None):
        """Adds a batch whose log-probabilities are known.

        Args:
            nats: Tensor `(batch, length)` of `-log p(token)`.
            weight: Tensor that broadcasts to it; 1 by default.
        """
        nats = ops.cast(nats, self.dtype)
        weights = ops.ones_like(nats)
        if weight is not None:
            weights *= ops.cast(weight, self.dtype)
        self.total.assign_add(ops.sum(weights * nats) / math.log(2))
        self.count.assign_add(ops.sum(weights))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)


def _align(weight, values):
    # A weight for each row holds for all of its tokens.
    missing = len(values.shape) - len(weight.shape)
    check(
        missing >= 0,
        "`sample_weight` must have the shape (batch, length) or (batch,).",
        shape=tuple(weight.shape),
    )
    return ops.reshape(weight, (*ops.shape(weight), *[1] * missing))

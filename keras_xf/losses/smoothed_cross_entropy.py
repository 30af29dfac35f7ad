"""Cross-entropy of ids with smoothed labels (Szegedy et al., 2016)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.ops.logits import wide_dtype


@keras.saving.register_keras_serializable(package="keras_xf")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits with ids of which some are drawn anew.

    With a probability of `label_smoothing` the target is any id, all alike:
    `(1 - label_smoothing) * -log p[id] + label_smoothing * mean(-log p)`, in
    nats. No distribution is made of the ids. Padding is left out by sample
    weights of zero; the default mean is one over what has a weight.

    Args:
        label_smoothing: Fraction of targets. The default is that of Vaswani et
            al., 2017, section 5.4.
        reduction: As of all `keras.losses.Loss`.
        name: Its name.
        dtype: As of all `keras.losses.Loss`.

    Call arguments:
        y_true: Integer tensor of ids, `(batch, ...)`.
        y_pred: Float tensor of logits, `(batch, ..., vocabulary_size)`.

    Example:

    >>> loss = keras_xf.losses.SmoothedCrossEntropy(0.1)
    >>> loss(np.array([2]), np.zeros((1, 4))).numpy()  # The logarithm of 4.
    1.3862944

    Reference:
        [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        reduction: str = "mean_with_sample_weight",
        name: str = "smoothed_cross_entropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check(
            0 <= label_smoothing < 1,
            "`label_smoothing` must lie in [0, 1).",
            label_smoothing=label_smoothing,
        )
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        ids = ops.cast(y_true, "int32")
        logits = ops.cast(y_pred, wide_dtype(y_pred.dtype))
        check(
            len(ids.shape) == len(logits.shape) - 1,
            "`y_true` must have the shape of `y_pred` without its last axis.",
            y_true=tuple(ids.shape),
            y_pred=tuple(logits.shape),
        )
        losses = ops.sparse_categorical_crossentropy(
            ids, logits, from_logits=True
        )
        if not self.label_smoothing:
            return losses
        # What the loss has added is the logit of the target.
        excess = ops.logsumexp(logits, axis=-1) - losses
        excess -= ops.mean(logits, axis=-1)
        return losses + self.label_smoothing * excess

    def get_config(self):
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
        }

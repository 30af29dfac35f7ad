"""Mean squared error in units of the targets' variance."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.ops.logits import wide_dtype


@keras.saving.register_keras_serializable(package="keras_xf")
class NormalizedMeanSquaredError(keras.losses.Loss):
    """Squared error, averaged over all entries, divided by a variance.

    With the variance of the data it is 1 for what predicts the mean and 0 for
    what predicts all, whatever the data: the loss of the reconstruction in
    Sonnet's VQ-VAE. A commitment loss beside it then weighs as much for
    pictures of low contrast as for others.

    Args:
        variance: What it is divided by: the variance of all entries of the
            training data, one number.
        reduction: As of all `keras.losses.Loss`.
        name: Its name.
        dtype: As of all `keras.losses.Loss`.

    Call arguments:
        y_true: Float tensor `(batch, ...)`.
        y_pred: Float tensor like it.

    Example:

    >>> loss = keras_xf.losses.NormalizedMeanSquaredError(variance=0.25)
    >>> loss(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])).numpy()
    1.0
    """

    def __init__(
        self,
        variance: float,
        reduction: str = "mean_with_sample_weight",
        name: str = "normalized_mean_squared_error",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check(variance > 0, "`variance` must be positive.", variance=variance)
        self.variance = float(variance)

    def call(self, y_true, y_pred):
        check(
            len(y_true.shape) == len(y_pred.shape) > 1,
            "`y_true` must have the shape of `y_pred`, (batch, ...).",
            y_true=tuple(y_true.shape),
            y_pred=tuple(y_pred.shape),
        )
        dtype = wide_dtype(y_pred.dtype)
        errors = ops.cast(y_true, dtype) - ops.cast(y_pred, dtype)
        axes = tuple(range(1, len(errors.shape)))
        return ops.mean(ops.square(errors), axis=axes) / self.variance

    def get_config(self):
        return {**super().get_config(), "variance": self.variance}

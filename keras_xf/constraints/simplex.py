"""Weights on the simplex (Ahmed et al., 2017)."""

import keras

from keras_xf.checks import check
from keras_xf.ops import simplex


@keras.saving.register_keras_serializable(package="keras_xf")
class Simplex(keras.constraints.Constraint):
    """Weights along the last axis are not negative and sum to one.

    After each step of the optimizer it takes the nearest such weights, which
    the Weighted Transformer does with its branches. A weight that has come to
    zero may have no gradient any more; `min_weight` keeps it alive.

    Args:
        min_weight: The smallest that a weight may be. The paper has none.

    Example:

    >>> constraint = keras_xf.constraints.Simplex()
    >>> constraint(np.array([0.6, 0.5, 0.1, -0.2], "float32")).numpy()
    array([0.53333336, 0.43333337, 0.03333333, 0.        ], dtype=float32)

    Reference:
        [Ahmed et al., 2017](https://arxiv.org/abs/1711.02132), section 3
    """

    def __init__(self, min_weight: float = 0.0):
        check(
            min_weight >= 0,
            "`min_weight` must not be negative.",
            min_weight=min_weight,
        )
        self.min_weight = min_weight

    def __call__(self, w):
        return simplex.project(keras.ops.convert_to_tensor(w), self.min_weight)

    def get_config(self):
        return {"min_weight": self.min_weight}

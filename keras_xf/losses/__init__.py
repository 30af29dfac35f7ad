"""Losses."""

from keras_xf.losses.normalized_mean_squared_error import (
    NormalizedMeanSquaredError,
)
from keras_xf.losses.smoothed_cross_entropy import SmoothedCrossEntropy

__all__ = ["NormalizedMeanSquaredError", "SmoothedCrossEntropy"]

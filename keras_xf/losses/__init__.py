"""Losses."""

from keras_xf.losses.smoothed_cross_entropy import SmoothedCrossEntropy

__all__ = ["SmoothedCrossEntropy"]

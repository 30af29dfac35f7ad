"""Metrics: what is measured beside the loss."""

from keras_xf.metrics.bits_per_token import BitsPerToken

__all__ = ["BitsPerToken"]

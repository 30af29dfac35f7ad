"""Metrics: what is measured beside the loss."""

from keras_xf.metrics.bit_usage import BitUsage
from keras_xf.metrics.bits_per_token import BitsPerToken
from keras_xf.metrics.code_usage import CodeUsage
from keras_xf.metrics.joint_usage import JointUsage
from keras_xf.metrics.loss_parts import LossParts
from keras_xf.metrics.normalized_mean_squared_error import (
    NormalizedMeanSquaredError,
)

__all__ = [
    "BitUsage",
    "BitsPerToken",
    "CodeUsage",
    "JointUsage",
    "LossParts",
    "NormalizedMeanSquaredError",
]

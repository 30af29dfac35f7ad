"""Initializers of weights that are several matrices, or shares of one."""

from keras_xf.initializers.branch_weights import EqualWeights
from keras_xf.initializers.branch_weights import RandomWeights
from keras_xf.initializers.per_slice import PerSlice
from keras_xf.initializers.stacked import Stacked

__all__ = ["EqualWeights", "PerSlice", "RandomWeights", "Stacked"]

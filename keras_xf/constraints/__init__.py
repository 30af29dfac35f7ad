"""Constraints of weights, which optimizers keep."""

from keras_xf.constraints.simplex import Simplex

__all__ = ["Simplex"]

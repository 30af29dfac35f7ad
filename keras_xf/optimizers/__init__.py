"""Optimizers and learning-rate schedules."""

from keras_xf.optimizers.frozen_after import FrozenAfter
from keras_xf.optimizers.grouped_optimizer import GroupedOptimizer
from keras_xf.optimizers.inverse_square_root_decay import InverseSquareRootDecay
from keras_xf.optimizers.linear_warmup import LinearWarmup
from keras_xf.optimizers.schedules import DECAYS
from keras_xf.optimizers.schedules import make_schedule
from keras_xf.optimizers.weighted_transformer import make_branch_group
from keras_xf.optimizers.weighted_transformer import (
    make_weighted_transformer_optimizer,
)

__all__ = [
    "DECAYS",
    "FrozenAfter",
    "GroupedOptimizer",
    "InverseSquareRootDecay",
    "LinearWarmup",
    "make_branch_group",
    "make_schedule",
    "make_weighted_transformer_optimizer",
]

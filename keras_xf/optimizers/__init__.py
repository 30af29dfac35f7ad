"""Learning-rate schedules."""

from keras_xf.optimizers.inverse_square_root_decay import InverseSquareRootDecay
from keras_xf.optimizers.linear_warmup import LinearWarmup
from keras_xf.optimizers.schedules import DECAYS
from keras_xf.optimizers.schedules import make_schedule

__all__ = ["DECAYS", "InverseSquareRootDecay", "LinearWarmup", "make_schedule"]

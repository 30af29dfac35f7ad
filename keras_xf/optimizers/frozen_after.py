"""A rate of zero from some update on (Ahmed et al., 2017)."""

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_xf.checks import check
from keras_xf.optimizers.following_schedule import FollowingSchedule


@keras.saving.register_keras_serializable(package="keras_xf")
class FrozenAfter(FollowingSchedule):
    """Follows another schedule for so many updates, and stops there.

    Weights keep what they are while others are trained on. To make them
    untrainable instead would change what the optimizer was built for.

    Args:
        learning_rate: A rate, or the schedule that is followed.
        updates: Updates that have a rate.
    """

    def __init__(
        self, learning_rate: float | LearningRateSchedule, updates: int
    ):
        super().__init__(learning_rate)
        check(updates >= 0, "`updates` must not be negative.", updates=updates)
        self.updates = updates

    def __call__(self, step):
        moves = ops.convert_to_tensor(step) < self.updates
        return self._rate(step) * ops.cast(moves, "float32")

    def get_config(self):
        return {**super().get_config(), "updates": self.updates}

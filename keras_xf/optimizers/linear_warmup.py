"""Linear warm-up in front of any schedule."""

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_xf.checks import check
from keras_xf.optimizers.following_schedule import FollowingSchedule


@keras.saving.register_keras_serializable(package="keras_xf")
class LinearWarmup(FollowingSchedule):
    """Raises the rate in equal parts, then follows another schedule.

    Update `n`, counted from one, has `n / warmup_steps` of the full rate: the
    first is not wasted on a rate of zero, and update `warmup_steps` has all of
    it, which is where the other schedule begins with its step 0.

    Args:
        learning_rate: The full rate, or the schedule that follows.
        warmup_steps: Updates until the full rate. 0 and 1 both leave the
            schedule as it is.
    """

    def __init__(
        self, learning_rate: float | LearningRateSchedule, warmup_steps: int
    ):
        super().__init__(learning_rate)
        check(
            warmup_steps >= 0,
            "`warmup_steps` must not be negative.",
            warmup_steps=warmup_steps,
        )
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        warmup_steps = max(self.warmup_steps, 1)
        update = ops.convert_to_tensor(step) + 1
        fraction = ops.cast(update, "float32") / warmup_steps
        rate = self._rate(ops.maximum(update - warmup_steps, 0))
        return rate * ops.minimum(fraction, 1.0)

    def get_config(self):
        return {**super().get_config(), "warmup_steps": self.warmup_steps}

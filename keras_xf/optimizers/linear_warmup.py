"""Linear warm-up in front of any schedule."""

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_xf.checks import check


@keras.saving.register_keras_serializable(package="keras_xf")
class LinearWarmup(LearningRateSchedule):
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
        super().__init__()
        check(
            isinstance(learning_rate, LearningRateSchedule)
            or learning_rate > 0,
            "`learning_rate` must be a schedule or positive.",
            learning_rate=learning_rate,
        )
        check(
            warmup_steps >= 0,
            "`warmup_steps` must not be negative.",
            warmup_steps=warmup_steps,
        )
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        warmup_steps = max(self.warmup_steps, 1)
        update = ops.convert_to_tensor(step) + 1
        fraction = ops.cast(update, "float32") / warmup_steps
        if isinstance(self.learning_rate, LearningRateSchedule):
            rate = self.learning_rate(ops.maximum(update - warmup_steps, 0))
        else:
            rate = self.learning_rate
        return rate * ops.minimum(fraction, 1.0)

    def get_config(self):
        return {
            "learning_rate": keras.saving.serialize_keras_object(
                self.learning_rate
            ),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config):
        learning_rate = keras.saving.deserialize_keras_object(
            config["learning_rate"]
        )
        return cls(**{**config, "learning_rate": learning_rate})

"""A rate of zero from some update on (Ahmed et al., 2017)."""

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_xf.checks import check


@keras.saving.register_keras_serializable(package="keras_xf")
class FrozenAfter(LearningRateSchedule):
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
        super().__init__()
        check(
            isinstance(learning_rate, LearningRateSchedule)
            or learning_rate > 0,
            "`learning_rate` must be a schedule or positive.",
            learning_rate=learning_rate,
        )
        check(updates >= 0, "`updates` must not be negative.", updates=updates)
        self.learning_rate = learning_rate
        self.updates = updates

    def __call__(self, step):
        rate = self.learning_rate
        if isinstance(rate, LearningRateSchedule):
            rate = rate(step)
        moves = ops.convert_to_tensor(step) < self.updates
        return rate * ops.cast(moves, "float32")

    def get_config(self):
        return {
            "learning_rate": keras.saving.serialize_keras_object(
                self.learning_rate
            ),
            "updates": self.updates,
        }

    @classmethod
    def from_config(cls, config):
        learning_rate = keras.saving.deserialize_keras_object(
            config["learning_rate"]
        )
        return cls(**{**config, "learning_rate": learning_rate})

"""What schedules that follow another one have in common."""

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_xf.checks import check


class FollowingSchedule(LearningRateSchedule):
    """Keeps a rate, or a schedule that is followed, and its config.

    Args:
        learning_rate: The rate or the schedule.
    """

    def __init__(self, learning_rate: float | LearningRateSchedule):
        super().__init__()
        check(
            isinstance(learning_rate, LearningRateSchedule)
            or learning_rate > 0,
            "`learning_rate` must be a schedule or positive.",
            learning_rate=learning_rate,
        )
        self.learning_rate = learning_rate

    def get_config(self):
        return {
            "learning_rate": keras.saving.serialize_keras_object(
                self.learning_rate
            )
        }

    @classmethod
    def from_config(cls, config):
        learning_rate = keras.saving.deserialize_keras_object(
            config["learning_rate"]
        )
        return cls(**{**config, "learning_rate": learning_rate})

    def _rate(self, step):
        """That of a step of the schedule, or the one that there is."""
        if isinstance(self.learning_rate, LearningRateSchedule):
            return self.learning_rate(step)
        return self.learning_rate

"""Decay by the inverse square root of the step (Vaswani et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check


@keras.saving.register_keras_serializable(package="keras_xf")
class InverseSquareRootDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rate `learning_rate * sqrt(decay_steps / (decay_steps + step))`.

    With a `LinearWarmup` of as many steps this is the paper's schedule.

    Args:
        learning_rate: Rate at step 0.
        decay_steps: Three times as many steps halve the rate.

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), equation 3
    """

    def __init__(self, learning_rate: float, decay_steps: int):
        super().__init__()
        check(
            learning_rate > 0,
            "`learning_rate` must be positive.",
            learning_rate=learning_rate,
        )
        check(
            decay_steps > 0,
            "`decay_steps` must be positive.",
            decay_steps=decay_steps,
        )
        self.learning_rate = learning_rate
        self.decay_steps = decay_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        return self.learning_rate * ops.rsqrt(1 + step / self.decay_steps)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "decay_steps": self.decay_steps,
        }

"""First weights on the simplex (Ahmed et al., 2017)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_xf")
class EqualWeights(keras.initializers.Initializer):
    """Weights along the last axis that are equal and sum to one."""

    def __call__(self, shape, dtype=None):
        return ops.full(shape, 1 / shape[-1], dtype)


@keras.saving.register_keras_serializable(package="keras_xf")
class RandomWeights(keras.initializers.Initializer):
    """Weights along the last axis, any that sum to one alike.

    A draw from the Dirichlet distribution whose parameters are one: of as many
    exponential numbers, divided by their sum.

    Args:
        seed: Seed of the draw; random if None.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        uniform = keras.random.uniform(
            shape, minval=1e-7, dtype="float32", seed=self.seed
        )
        numbers = -ops.log(uniform)
        weights = numbers / ops.sum(numbers, axis=-1, keepdims=True)
        return ops.cast(weights, dtype or keras.config.floatx())

    def get_config(self):
        return {"seed": self.seed}

"""Numbers of a layer that follow a schedule."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.ops import stateless_random
from keras_xf.ops.replicas import replica_number

Schedule = keras.optimizers.schedules.LearningRateSchedule


def as_number_or_schedule(name: str, value, is_valid, requirement: str):
    """Returns a number, or a schedule as Keras's optimizers take one.

    Args:
        name: The argument's name.
        value: A number, a schedule or what one was serialized to.
        is_valid: Function that says whether a number is.
        requirement: What it must be, for the message.

    Raises:
        ValueError: If a number is not valid.
    """
    if isinstance(value, dict):
        value = keras.optimizers.schedules.deserialize(value)
    if isinstance(value, Schedule):
        return value
    check(is_valid(value), f"`{name}` must {requirement}.", **{name: value})
    return float(value)


def serialize(value):
    """What a config holds of a number or a schedule."""
    if isinstance(value, Schedule):
        return keras.optimizers.schedules.serialize(value)
    return value


def value_at(value, steps):
    """A number, or what a schedule says after so many steps, as float32."""
    if isinstance(value, Schedule):
        value = value(ops.convert_to_tensor(steps))
    return ops.cast(value, "float32")


def draw_for_replica(seed_generator):
    """Takes a seed that is another one on each replica.

    Args:
        seed_generator: A `keras.random.SeedGenerator`, which moves on by one.

    Returns:
        A seed of `keras_xf.ops.stateless_random`.
    """
    seed = stateless_random.draw(seed_generator)
    number, replicas = replica_number()
    return seed if replicas == 1 else stateless_random.fold_in(seed, number)

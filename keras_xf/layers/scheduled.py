"""Numbers of a layer that follow a schedule."""

import keras
from keras import ops

from keras_xf.checks import as_number
from keras_xf.checks import check

Schedule = keras.optimizers.schedules.LearningRateSchedule


def as_number_or_schedule(name: str, value, is_valid, requirement: str):
    """Returns a number, or a schedule as Keras's optimizers take one.

    Args:
        name: The argument's name.
        value: A number, a schedule or what one was serialized to.
        is_valid: Function that says whether a number is.
        requirement: What it must be, for the message.

    Raises:
        ValueError: If it is neither a number nor a schedule, or if a number
            is not finite or not valid.
    """
    if isinstance(value, dict):
        value = keras.optimizers.schedules.deserialize(value)
    if isinstance(value, Schedule):
        return value
    value = as_number(name, value, "a number or a schedule")
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

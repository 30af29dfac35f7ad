"""When a training ends."""

import keras

from apps.training.options import TrainingOptions


def why_stop(
    options: TrainingOptions,
    *,
    step: int,
    seconds: float,
    seconds_per_step: float,
    is_asked: bool,
    callbacks: list,
) -> str | None:
    """Says whether a training that stands at a checkpoint is over.

    Args:
        options: The options.
        step: Steps done.
        seconds: Seconds of training.
        seconds_per_step: As measured since the checkpoint before.
        is_asked: Whether a callback set `model.stop_training`.
        callbacks: The callbacks, with the state that they have here.

    Returns:
        `"finished"` after all steps, `"early_stopping"`, `"callback"` if one
        asked to stop, `"time"` if the way to the next checkpoint is too long
        for `max_train_seconds`, or None to go on.
    """
    if step >= options.train_steps:
        return "finished"
    if any(map(_is_out_of_patience, callbacks)):
        return "early_stopping"
    if is_asked:
        return "callback"
    every = options.save_every_steps
    next_step = min(step - step % every + every, options.train_steps)
    needed = (next_step - step) * seconds_per_step
    limit = options.max_train_seconds
    return "time" if limit is not None and seconds + needed > limit else None


def _is_out_of_patience(callback):
    is_early_stopping = isinstance(callback, keras.callbacks.EarlyStopping)
    return is_early_stopping and callback.wait >= callback.patience

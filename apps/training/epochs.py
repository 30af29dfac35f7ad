"""The calls of `model.fit` that make up a training."""

from collections.abc import Callable

import keras
import tensorflow as tf

from apps.training.options import TrainingOptions
from keras_xf.checks import check


def run_epochs(
    model: keras.Model,
    options: TrainingOptions,
    *,
    make_train_set: Callable[[int], tf.data.Dataset],
    make_validation_set: Callable[[], tf.data.Dataset] | None,
    step: int,
    callbacks: list,
) -> None:
    """Trains until the last callback says that training is over.

    An epoch ends at each multiple of `save_every_steps`. One that was cut off,
    and one that the end of training cuts short, are a `fit` of their own; all
    whole epochs are one `fit`.

    Args:
        model: A compiled model.
        options: The options.
        make_train_set: As `fit` takes it.
        make_validation_set: As `fit` takes it.
        step: Steps done.
        callbacks: The callbacks, of which the last is a `Checkpointing`.
    """
    checkpointing = callbacks[-1]
    every = options.save_every_steps
    validation_set = _validation_set(make_validation_set)
    while checkpointing.stopped_because is None:
        left = options.train_steps - step
        steps, epochs = every, left // every
        if step % every or left < every:
            steps, epochs = min(every - step % every, left), 1
        model.fit(
            _train_set(make_train_set, step, steps * epochs),
            steps_per_epoch=steps,
            initial_epoch=step // every,
            epochs=step // every + epochs,
            validation_data=validation_set,
            callbacks=callbacks,
            # The data set has an order, which Keras would warn it leaves alone.
            shuffle=False,
            verbose=0,
        )
        step += steps * epochs


def _train_set(make, step, num_steps):
    dataset = make(step)
    size = int(dataset.cardinality())
    # Where the size is unknown, `Guard` sees the end when it comes.
    check(
        size < 0 or size >= num_steps,
        "`make_train_set` must give batches for all steps.",
        first_step=step,
        batches=size,
        steps=num_steps,
    )
    return dataset


def _validation_set(make):
    if make is None:
        return None
    dataset = make()
    size = int(dataset.cardinality())
    if size == tf.data.UNKNOWN_CARDINALITY:
        # Keras would warn at its end.
        size = sum(1 for _ in dataset)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(size))
    check(
        size > 0,
        "`make_validation_set` must return a finite set that has a batch.",
        batches="endless" if size < 0 else size,
    )
    return dataset

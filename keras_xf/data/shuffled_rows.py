"""Rows of arrays: shuffled to train on, in order to score."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.data import token_streams


class ShuffledRows:
    """Endless batches of rows, each a pure function of seed and step.

    An epoch visits all rows in a random order. It depends on nothing but the
    seed and the number of the epoch: any position can be reached again at no
    cost. The rows that do not fill a batch are left out, others in each epoch.

    Args:
        arrays: Arrays by name, with as many rows each: images, codes, class
            ids.
        batch_size: Rows of a batch.
        seed: Seed of the orders.

    Attributes:
        steps_per_epoch: Batches of an epoch, the same for all.

    Example:

    >>> rows = ShuffledRows({"images": images}, batch_size=32, seed=0)
    >>> rows.batch(step=7)["images"].shape
    TensorShape([32, 8, 8, 1])
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int
    ):
        token_streams.check_sizes(batch_size=batch_size)
        self._rows = _as_tensors(arrays)
        self._num_rows = len(next(iter(arrays.values())))
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = self._num_rows // batch_size
        check(
            self.steps_per_epoch > 0,
            "`arrays` must have `batch_size` rows.",
            num_rows=self._num_rows,
            batch_size=batch_size,
        )

    def dataset(self, first_step: int = 0) -> tf.data.Dataset:
        """Returns the endless data set of `batch(step)` from `first_step` on.

        It equals `dataset().skip(first_step)`, without the wait.
        """
        return token_streams.endless(self.batch, first_step)

    def batch(self, step) -> dict:
        """Makes the batch of a step, eagerly or in a graph.

        Args:
            step: Integer scalar, counted from 0 through all epochs.

        Returns:
            Tensors `(batch_size, ...)` by name, of the arrays' dtypes.
        """
        step = tf.cast(step, tf.int64)
        place = step % self.steps_per_epoch * self.batch_size
        row = tf.random.experimental.index_shuffle(
            place + tf.range(self.batch_size, dtype=tf.int64),
            tf.stack([self.seed, step // self.steps_per_epoch]),
            self._num_rows - 1,
        )
        return {name: tf.gather(x, row) for name, x in self._rows.items()}


def ordered_rows(
    arrays: Mapping[str, np.ndarray], batch_size: int
) -> tf.data.Dataset:
    """Batches that hold each row once, in order.

    Args:
        arrays: As `ShuffledRows` takes them.
        batch_size: Rows of a batch. The last batch is filled up with its last
            row, so that all have one shape.

    Returns:
        A data set of known size, of pairs: tensors `(batch_size, ...)` by name,
        and float32 `(batch_size,)`, 1 for each row and 0 for what fills up.
    """
    token_streams.check_sizes(batch_size=batch_size)
    rows = _as_tensors(arrays)
    num_rows = len(next(iter(arrays.values())))

    def make_batch(step):
        place = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        row = tf.minimum(place, num_rows - 1)
        batch = {name: tf.gather(x, row) for name, x in rows.items()}
        return batch, tf.cast(place < num_rows, tf.float32)

    steps = tf.data.Dataset.range(-(-num_rows // batch_size))
    return steps.map(make_batch).prefetch(tf.data.AUTOTUNE)


def _as_tensors(arrays):
    sizes = {name: len(array) for name, array in arrays.items()}
    check(
        len(set(sizes.values())) == 1 and all(sizes.values()),
        "`arrays` must have as many rows each, and at least one.",
        rows=sizes,
    )
    # Without this a GPU would hold them, and copy each batch back.
    with tf.device("CPU:0"):
        return {name: tf.constant(array) for name, array in arrays.items()}

"""Work that is done for some of the rows of a batch, in static shapes.

TensorFlow itself: a loop of as many rounds as the chosen rows need.
"""

import tensorflow as tf
from keras import ops

from keras_xf.checks import check
from keras_xf.ops.permutations import inverse_permutations
from keras_xf.ops.tensor_array import tensor_array


class ChosenRows:
    """Rows of which some are chosen, and those taken a block at a time.

    Whatever their number, no shape depends on it: a block has a fixed number
    of rows, the last one not all of them chosen, and there are as many rounds
    as are needed.

    Args:
        chosen: Boolean tensor `(rows,)`.
        block_length: Rows of a block at most.
    """

    def __init__(self, chosen, block_length: int):
        check(
            block_length > 0,
            "`block_length` must be positive.",
            block_length=block_length,
        )
        self._chosen = chosen
        num_rows = ops.shape(chosen)[0]
        # At least one row and one round, for what is made of no rows to have
        # the shapes of what is looped over.
        if isinstance(num_rows, int):
            self._block = max(min(block_length, num_rows), 1)
            self._max_rounds = max(-(-num_rows // self._block), 1)
        else:
            self._block = tf.clip_by_value(num_rows, 1, block_length)
            self._max_rounds = tf.maximum(-(-num_rows // self._block), 1)
        self._order_rows()
        rest = self._max_rounds * self._block - num_rows
        self._order = tf.pad(self._order, [[0, rest]])

    def loop(self, step, like, totals=(), after=None):
        """Calls a function for each block that has a chosen row.

        Args:
            step: Function of a function that takes the block's rows of a
                tensor, of booleans that tell which of them are chosen, and of
                a list of totals; it returns a list of tensors `(block, ...)`
                and the next totals.
            like: Pairs of the shape of a row of each of the tensors, and its
                dtype.
            totals: Tensors that the calls hand on.
            after: Tensor of floats that what is computed will be made from.

        Returns:
            The tensors, `(rows, ...)` in the order of the rows and zero where
            none is chosen, and the last totals.
        """
        arrays = [
            tensor_array(self._max_rounds, (self._block, *shape), dtype, after)
            for shape, dtype in like
        ]

        def turn(number, arrays, totals):
            start = number * self._block
            index = tf.slice(self._order, [start], [self._block])
            is_chosen = start + tf.range(self._block) < self._count
            parts, totals = step(
                lambda tensor: tf.gather(tensor, index), is_chosen, totals
            )
            arrays = [
                array.write(number, part)
                for array, part in zip(arrays, parts, strict=True)
            ]
            return number + 1, arrays, totals

        num_rounds = (self._count + self._block - 1) // self._block
        _, arrays, totals = tf.while_loop(
            lambda number, *_: number < num_rounds,
            turn,
            (tf.constant(0), arrays, list(totals)),
            # More at a time would take more memory.
            parallel_iterations=1,
        )
        return [self._put_back(array.stack()) for array in arrays], totals

    def _order_rows(self):
        """Finds an order in which the chosen rows come first."""
        is_chosen = tf.cast(self._chosen, tf.int32)
        self._count = tf.reduce_sum(is_chosen)
        self._place = tf.where(
            self._chosen,
            tf.cumsum(is_chosen) - 1,
            self._count + tf.cumsum(1 - is_chosen) - 1,
        )
        self._order = inverse_permutations(self._place)

    def _put_back(self, blocks):
        shape = ops.shape(blocks)[2:]
        rows = tf.reshape(blocks, (self._max_rounds * self._block, *shape))
        rows = tf.gather(rows, self._place)
        chosen = tf.reshape(self._chosen, (-1, *[1] * len(shape)))
        return tf.where(chosen, rows, tf.zeros_like(rows))

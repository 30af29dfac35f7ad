"""Rows of chunks, a lot at a time.

What is computed of a lot stays in a processor's cache, and in memory that the
lot before has left; arrays of all rows would be new memory each, which costs
more than the arithmetic. A GPU gets everything in one lot.
"""

import os

import tensorflow as tf

from keras_xf.ops.target_platform import target_platform
from keras_xf.ops.tensor_array import tensor_array

# Positions of a lot, of one head each.
LOT_LENGTH = 4096


class ChunkLots:
    """How rows of chunks are divided.

    A lot is some rows whole, or some of the chunks of one row. The last ones
    may reach beyond the end.

    Args:
        num_rows: Number of rows, an integer or a scalar tensor.
        num_chunks: Number of chunks of a row, alike.
        chunk_length: Number of positions of a chunk.
    """

    def __init__(self, num_rows, num_chunks, chunk_length: int):
        self.num_rows, self.num_chunks = num_rows, num_chunks
        self.rows, self.chunks = num_rows, num_chunks
        self.lots_of_rows = self.lots_of_row = 1
        if target_platform() == "CPU":
            most = max(LOT_LENGTH // chunk_length, 1)
            self.lots_of_row, self.chunks = _divide(num_chunks, most)
            most = _max(most // _max(self.chunks, 1), 1)
            self.lots_of_rows, self.rows = _divide(num_rows, most)
        self.number = self.lots_of_rows * self.lots_of_row

    def row_numbers(self, lot):
        """int32 `(rows,)`, the rows of a lot; the last again for none."""
        first = lot // self.lots_of_row * self.rows
        return tf.minimum(first + tf.range(self.rows), self.num_rows - 1)

    def first_chunk(self, lot):
        """The number of the first chunk of a lot."""
        return lot % self.lots_of_row * self.chunks

    def place(self, row, chunk, width, start):
        """Where lots put one behind the other have a chunk.

        Args:
            row: Integer tensor, the row's number.
            chunk: Integer tensor, the chunk's number.
            width: Number of chunks a row that a lot holds.
            start: Where the lot's own chunks begin among them.

        Returns:
            Integer tensor.
        """
        lot = row // self.rows * self.lots_of_row + chunk // self.chunks
        place = lot * width + chunk % self.chunks + start
        return place * self.rows + row % self.rows


def map_lots(function, number, like, after):
    """Puts what a function makes of each lot one behind the other.

    Args:
        function: Function of a lot's number that returns a list of tensors.
        number: Number of lots, an integer or a scalar tensor.
        like: Pairs of their shapes, of integers and scalar tensors, and
            dtypes.
        after: A tensor of floats that the lots are made from.

    Returns:
        A list of tensors with another axis in front.
    """
    if isinstance(number, int) and number == 1:
        return [x[None] for x in function(0)]
    arrays = [tensor_array(number, *pair, after) for pair in like]

    def run(lot, arrays):
        results = function(lot)
        pairs = zip(arrays, results, strict=True)
        return lot + 1, [array.write(lot, x) for array, x in pairs]

    _, arrays = tf.while_loop(
        lambda lot, _: lot < number,
        run,
        (tf.constant(0), arrays),
        # Products of small matrices take one core each.
        parallel_iterations=os.cpu_count() or 1,
    )
    return [array.stack() for array in arrays]


def _divide(total, most):
    """The number of lots of about equal size, and the size."""
    number = _max(-(-total // most), 1)
    return number, -(-total // number)


def _max(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return tf.maximum(a, b)

"""Looking up rows of a table."""

from keras import ops


def look_up(table, ids):
    """Rows of `table` by their number, with a dense gradient.

    The gradient that TensorFlow gives a gather lists a row as often as it was
    looked up, and Keras's adaptive optimizers square each entry before they
    add the entries of one row up. Here they are added first.

    Args:
        table: Float tensor or variable `(rows, dim)`.
        ids: Integer tensor of any shape, in `[0, rows)`.

    Returns:
        Tensor `(*ids.shape, dim)` like `table`.
    """
    # The reshape reads a variable: a custom gradient takes tensors only.
    return _look_up(ops.reshape(table, table.shape), ids)


@ops.custom_gradient
def _look_up(table, ids):
    num_rows, dim = table.shape

    def gradient(upstream):
        dense = ops.segment_sum(
            ops.reshape(upstream, (-1, dim)),
            ops.reshape(ids, (-1,)),
            num_segments=num_rows,
        )
        return dense, None

    return ops.take(table, ids, axis=0), gradient

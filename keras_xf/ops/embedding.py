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
    # Keras counts negative ids from the end; a gather fails on what is no row,
    # on a CPU.
    ids = ops.where(ids < 0, table.shape[0], ids)
    # The reshape reads a variable: a custom gradient takes tensors only.
    return _look_up(ops.reshape(table, table.shape), ids)


def look_up_in_bins(tables, ids):
    """Rows of tables that together hold the rows of all ids.

    Args:
        tables: Float tensors or variables `(rows, dim)`; the ids of each one
            go on where those of the one before end.
        ids: Integer tensor of any shape, in `[0, sum of rows)`.

    Returns:
        List of tensors `(*ids.shape, dim)`, for each table the rows of its
        own ids and zeros at all others.
    """
    found, start = [], 0
    for place, table in enumerate(tables):
        num_rows = table.shape[0]
        row = ids - start
        is_here = None
        # The ends are open, for ids that no table has to be noticed.
        if place > 0:
            is_here = row >= 0
            row = ops.maximum(row, 0)
        if place < len(tables) - 1:
            is_below = row < num_rows
            is_here = (
                is_below
                if is_here is None
                else ops.logical_and(is_here, is_below)
            )
            row = ops.minimum(row, num_rows - 1)
        rows = look_up(table, row)
        if is_here is not None:
            rows = ops.where(is_here[..., None], rows, ops.zeros_like(rows))
        found.append(rows)
        start += num_rows
    return found


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

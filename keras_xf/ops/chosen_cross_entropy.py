"""Cross entropy of some of the rows of a batch.

TensorFlow itself: a custom gradient around loops of blocks.
"""

import tensorflow as tf

from keras_xf.ops import target_platform
from keras_xf.ops.chosen_rows import ChosenRows
from keras_xf.ops.logits import MASKED_LOGIT
from keras_xf.ops.logits import wide_dtype
from keras_xf.ops.only_first import only_first

# On a CPU the best of 32 to 256; a GPU is kept busy by more rows at a time.
_BLOCK_LENGTHS = {"CPU": 64, "GPU": 1024}


def chosen_cross_entropy(
    queries, table, ids, chosen, *, block_length: int | None = None
):
    """Cross entropy of rows with the logits `queries table^T`, where chosen.

    Logits are made for the chosen rows only, a block of them at a time, and
    made again for the gradients: time grows with their number, memory does
    not. Products are of float32, or of float64, whatever the tensors are.
    Gradients of gradients are not supported, and raise.

    Args:
        queries: Float tensor `(rows, dim)`.
        table: Float tensor `(entries, dim)`.
        ids: Integer tensor `(rows,)` in `[0, entries)`, the right entries; of
            rows that are not chosen, any.
        chosen: Boolean tensor `(rows,)`.
        block_length: Rows of a block at most; None for what suits the
            `target_platform`.

    Returns:
        Tensor `(rows,)` in float32 or wider, zeros where not chosen.

    Raises:
        ValueError: If `block_length` is not positive.
        LookupError: If a gradient of a gradient is asked for.
    """
    if block_length is None:
        block_length = _BLOCK_LENGTHS[target_platform.target_platform()]
    wide = wide_dtype(queries.dtype, table.dtype)
    # As tensors of this very graph: what the gradient takes from outside of a
    # condition is lost where a function is around it.
    ids, chosen = tf.identity(ids), tf.identity(chosen)
    rows = ChosenRows(chosen, block_length)

    @tf.custom_gradient
    def compute(queries, table):
        # Without gradients, or eager execution would keep all blocks.
        fixed = tf.stop_gradient(queries), tf.stop_gradient(table)
        log_totals = _find_log_totals(rows, *fixed)
        of_ids = tf.reduce_sum(fixed[0] * tf.gather(fixed[1], ids), axis=-1)
        # Computed in two ways, they may differ by a rounding error.
        outputs = tf.maximum(log_totals - of_ids, 0.0)

        def gradient(upstream):
            (upstream,) = only_first(
                [upstream],
                [queries, table],
                "negative log-likelihoods of an adaptive softmax have no "
                "second gradients; its log-probabilities have.",
            )
            upstream = tf.where(chosen, upstream, tf.zeros_like(upstream))
            return _differentiate(
                rows, queries, table, ids, log_totals, upstream
            )

        return tf.where(chosen, outputs, tf.zeros_like(outputs)), gradient

    return compute(tf.cast(queries, wide), tf.cast(table, wide))


def _find_log_totals(rows, queries, table):
    """Logs of the sums of exponentials of the chosen rows' logits."""

    def step(take, is_chosen, totals):
        # Entries first: then the gradient's products have no transposed left
        # factor, with which a CPU multiplies half as fast.
        logits = tf.matmul(table, take(queries), transpose_b=True)
        maximum = tf.reduce_max(logits, axis=0)
        total = tf.reduce_sum(tf.exp(logits - maximum), axis=0)
        return [tf.math.log(total) + maximum], totals

    (log_totals,), _ = rows.loop(step, [((), queries.dtype)], after=queries)
    return log_totals


def _differentiate(rows, queries, table, ids, log_totals, upstream):
    transposed = tf.transpose(table)
    # One more column of the factors costs less than one more pass over the
    # product.
    extended = tf.concat([table, tf.ones_like(table[:, :1])], axis=1)

    def step(take, is_chosen, totals):
        block, factor = take(queries), take(upstream)
        # What is not chosen has no sum; its exponentials could be infinite.
        less = tf.where(is_chosen, -take(log_totals), MASKED_LOGIT)[:, None]
        probs = tf.exp(
            tf.matmul(
                extended, tf.concat([block, less], axis=1), transpose_b=True
            )
        )
        part = tf.transpose(tf.matmul(transposed, probs) * factor)
        product = tf.matmul(probs, block * factor[:, None])
        return [part], [totals[0] + product]

    like = [(queries.shape[1:], queries.dtype)]
    (of_queries,), (of_table,) = rows.loop(
        step, like, [tf.zeros_like(table)], after=upstream
    )
    upstream = upstream[:, None]
    of_queries -= tf.gather(table, ids) * upstream
    of_table -= tf.math.unsorted_segment_sum(
        queries * upstream, ids, table.shape[0]
    )
    return of_queries, of_table

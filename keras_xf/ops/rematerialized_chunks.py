"""Position-wise functions, computed chunk by chunk in both directions.

TensorFlow itself: a custom gradient that holds a tape, inside a loop.
"""

import tensorflow as tf
from keras import ops

from keras_xf.ops import stateless_random
from keras_xf.ops.tensor_array import tensor_array


def map_chunks(function, inputs, weights, *, chunk_length: int, seed=None):
    """Applies a position-wise function to a few positions at a time.

    Values and gradients are those of one application to all positions. What
    the function makes between its input and its output is there for one chunk
    at a time: nothing of it is kept for the gradient, which computes each
    chunk again, differentiates it and adds to the gradients of the weights
    before it goes on to the next. Gradients of gradients are for eager
    execution alone.

    A sequence of one chunk only is handled as if this were not here: what it
    computes is kept, and computed once.

    Args:
        function: `function(rows, weights, seed) -> rows` from a matrix of
            vectors, `(any, dim)`, to one of the same shape and dtype. Each
            vector must depend on its own input alone; the function must be
            pure, and draw by `seed` only.
        inputs: Float tensor `(batch, length, dim)`.
        weights: Sequence of the float tensors, not variables, that `function`
            takes. Gradients are added up in their dtypes.
        chunk_length: Positions in a chunk, of all sequences of the batch; the
            last chunk may be shorter.
        seed: Seed of `stateless_random`; each chunk gets another one, made of
            it and the chunk's number. None if `function` draws nothing.

    Returns:
        Tensor like `inputs`.
    """
    batch_size, length, dim = ops.shape(inputs)

    def apply(rows, weights, index):
        chunk_seed = seed
        if seed is not None:
            chunk_seed = stateless_random.fold_in(seed, index)
        return function(rows, weights, chunk_seed)

    rows = ops.reshape(inputs, (-1, dim))
    if isinstance(length, int) and length <= chunk_length:
        outputs = apply(rows, weights, 0)
    else:
        chunks = _Chunks(batch_size, length, chunk_length)
        outputs = _run(apply, chunks, rows, *weights)
    return ops.reshape(outputs, (batch_size, length, dim))


class _Chunks:
    """A number of chunks of equal size, and a shorter rest."""

    def __init__(self, batch_size, length, chunk_length):
        if isinstance(length, int):
            self.count = length // chunk_length
        else:
            # A loop without a turn would know nothing of its chunks' size: it
            # takes one of no positions, if there are none.
            chunk_length = ops.minimum(chunk_length, length)
            self.count = ops.maximum(length // ops.maximum(chunk_length, 1), 1)
        self.size = batch_size * chunk_length
        rest = length - self.count * chunk_length
        self.has_rest = not isinstance(rest, int) or rest > 0

    def split(self, rows):
        """Returns `(count, size, dim)`, and the rest `(any, dim)`."""
        num_rows, dim = self.count * self.size, rows.shape[-1]
        whole = tf.reshape(rows[:num_rows], (self.count, self.size, dim))
        return whole, rows[num_rows:]

    def join(self, whole, rest):
        """What `split` had split; `rest` is None if there is none."""
        whole = tf.reshape(whole, (-1, whole.shape[-1]))
        return whole if rest is None else tf.concat([whole, rest], axis=0)

    def loop(self, body, like, totals=()):
        """Calls `body(index, totals) -> (chunk, totals)` for each chunk.

        Args:
            body: What to do.
            like: Tensor `(count, size, dim)`, as the chunks will be.
            totals: List of tensors that the calls hand on.

        Returns:
            The chunks `(count, size, dim)`, and the last totals.
        """
        shape = ops.shape(like)[1:]
        array = tensor_array(self.count, shape, like.dtype, after=like)

        def step(index, array, totals):
            chunk, totals = body(index, totals)
            return index + 1, array.write(index, chunk), totals

        _, array, totals = tf.while_loop(
            lambda index, *_: index < self.count,
            step,
            (tf.constant(0), array, list(totals)),
            # More at a time would take more memory.
            parallel_iterations=1,
        )
        return array.stack(), totals


def _run(apply, chunks, rows, *weights):
    @tf.custom_gradient
    def run(rows, *weights):
        # Without gradients, or eager execution would keep what is between.
        whole, rest = chunks.split(tf.stop_gradient(rows))
        fixed = [tf.stop_gradient(weight) for weight in weights]
        outputs, _ = chunks.loop(
            lambda index, _: (apply(whole[index], fixed, index), []), whole
        )
        if chunks.has_rest:
            rest = apply(rest, fixed, chunks.count)
        outputs = chunks.join(outputs, rest if chunks.has_rest else None)

        def gradient(upstream):
            return _differentiate(apply, chunks, rows, weights, upstream)

        return outputs, gradient

    return run(rows, *weights)


def _differentiate(apply, chunks, rows, weights, upstream):
    whole, rest = chunks.split(rows)
    whole_upstream, rest_upstream = chunks.split(upstream)

    def add_gradients(rows, index, upstream, totals):
        # Tensors of this body's own, which the tape can watch.
        sources = [tf.identity(tensor) for tensor in (rows, *weights)]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            outputs = apply(sources[0], sources[1:], index)
        gradient, *gradients = tape.gradient(
            outputs, sources, upstream, unconnected_gradients="zero"
        )
        pairs = zip(totals, gradients, strict=True)
        return gradient, [total + part for total, part in pairs]

    gradient, totals = chunks.loop(
        lambda index, totals: add_gradients(
            whole[index], index, whole_upstream[index], totals
        ),
        whole,
        [tf.zeros_like(weight) for weight in weights],
    )
    rest_gradient = None
    if chunks.has_rest:
        # After the loop, not beside it.
        with tf.control_dependencies([gradient]):
            rest = tf.identity(rest)
        rest_gradient, totals = add_gradients(
            rest, chunks.count, rest_upstream, totals
        )
    return chunks.join(gradient, rest_gradient), *totals

"""Reversible residual stacks (Gomez et al., 2017; Kitaev et al., 2020)."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from keras_xf.ops.only_first import only_first

# A signaling NaN: arithmetic makes quiet ones only, so no result has these
# bits, which no compiler can know.
_BITS_OF_NO_RESULT = 0x7FA5C3D2


@dataclasses.dataclass(frozen=True)
class Branch:
    """One of the two functions of a block.

    Attributes:
        function: Called as `function(x, weights, state, record)`, returns
            `(outputs, state, record)`. `x` and `outputs` are a stream,
            `weights` are differentiated, `state` is what the function draws
            from or moves on, such as seeds and statistics: a list goes in, and
            a list of the same length comes out. `record` is None when the
            function is called first, and what it then returned when it is
            computed again with the same weights and state: what must not be
            decided anew. Two calls with the same arguments must give the same
            outputs, and what the function takes from elsewhere gets no
            gradient.
        weights: Places of its weights among those of the stack.
        state: Places of its state among that of the stack.
    """

    function: Callable
    weights: tuple[int, ...] = ()
    state: tuple[int, ...] = ()


def reversible_sequence(
    blocks: Sequence[tuple[Branch, Branch]],
    x1,
    x2,
    weights: Sequence = (),
    state: Sequence = (),
    *,
    recompute: bool = True,
):
    """Runs blocks of two residual streams, each of which can be undone.

    A block computes `y1 = x1 + f(x2)`, `y2 = x2 + g(y1)`, equation (9) of the
    Reformer. Since `x2 = y2 - g(y1)` and `x1 = y1 - f(x2)`, equation (10), the
    gradient needs no activations: it goes from the top down, reconstructs each
    block's inputs, and computes `f` and `g` again, with the state that they
    had. What is kept is the top, the state's values, and the records.

    Branches are given, and the caller gets, streams of the dtype that came in.
    They are added up in float64: sums that are rounded cannot be undone, and
    what the reconstruction is off by changes gradients by the more, the deeper
    the stack, 5e-5 for 24 blocks of LSH attention in float32. In float64 it is
    off by what `f` and `g` differ by when they are computed again: by nothing,
    unless a compiler does it otherwise.

    Args:
        blocks: Pairs of `f` and `g`.
        x1: Float tensor `(batch, ..., dim)`.
        x2: Tensor like `x1`.
        weights: Float tensors. Branches may share some.
        state: Tensors of any dtype; no gradient reaches them. Where branches
            share some, the later one takes what the earlier one left.
        recompute: Whether the gradient reconstructs. If not, it is that of
            the same computation with all activations kept.

    Returns:
        `y1` and `y2`, and the list of the state's values afterwards, in which
        what did not change is the very tensor that was given. There are no
        gradients of gradients if `recompute`: to ask for them is an error.
    """
    branches = [branch for block in blocks for branch in block]
    # What variables hold now: the gradient is computed after they moved on.
    weights = [tf.convert_to_tensor(weight) for weight in weights]
    values = [tf.convert_to_tensor(value) for value in state]
    run = _run_reversibly if recompute else _run
    sums = [tf.cast(x, tf.float64) for x in (x1, x2)]
    sums, moved = run(branches, sums, x1.dtype, weights, values)
    y1, y2 = (tf.cast(total, x1.dtype) for total in sums)
    return y1, y2, [moved.get(n, given) for n, given in enumerate(state)]


def _run_reversibly(branches, sums, dtype, weights, state):
    """As `_run`, with a gradient that reconstructs."""
    num_weights = len(weights)
    changed = []

    @tf.custom_gradient
    def run(*tensors):
        # Without a gradient, or eager execution would keep all activations.
        x1, x2, *kept = (tf.stop_gradient(tensor) for tensor in tensors)
        given, state = kept[:num_weights], kept[num_weights:]
        replays = []
        tops, moved = _run(branches, [x1, x2], dtype, given, state, replays)
        changed[:] = moved

        def gradient(*upstream):
            upstream = only_first(
                upstream[:2],
                tensors[: 2 + num_weights],
                "a reversible stack has no second gradients; "
                "`reversible=False` has.",
            )
            of_inputs, of_weights = _differentiate(
                branches, tops, dtype, given, replays, upstream
            )
            return *of_inputs, *of_weights, *[None] * len(state)

        return (*tops, *moved.values()), gradient

    y1, y2, *moved = run(*sums, *weights, *state)
    return [y1, y2], dict(zip(changed, moved, strict=True))


def _run(branches, sums, dtype, weights, state, replays=None):
    """Computes a stack.

    Args:
        branches: All of them in their order.
        sums: Both streams, in float64.
        dtype: What branches are given them in.
        weights: Tensors.
        state: Tensors.
        replays: A list that takes the state that each branch had, and its
            record.

    Returns:
        Both streams, and by place what changed of the state.
    """
    sums, current = list(sums), list(state)
    for place, branch in enumerate(branches):
        target, source = place % 2, 1 - place % 2
        before = [current[index] for index in branch.state]
        outputs, after, record = branch.function(
            tf.cast(sums[source], dtype),
            [weights[index] for index in branch.weights],
            before,
            None,
        )
        sums[target] += tf.cast(outputs, tf.float64)
        for index, tensor in zip(branch.state, after, strict=True):
            current[index] = tensor
        if replays is not None:
            replays.append((before, record))
    moved = {n: x for n, x in enumerate(current) if x is not state[n]}
    return sums, moved


def _differentiate(branches, sums, dtype, weights, replays, upstream):
    """Gradients for the two inputs and for the weights."""
    sums, upstream = list(sums), list(upstream)
    of_weights = [None] * len(weights)
    gradients = []
    for place in reversed(range(len(branches))):
        branch, (state, record) = branches[place], replays[place]
        target, source = place % 2, 1 - place % 2
        # A compiler may compute a branch again before the gradients of the
        # last one's weights, and would then keep both branches' activations.
        # Or it might find that it had made the same of seeds and weights
        # before, and keep that since the forward pass, such as masks of a
        # dropout, or scales of a normalization at each position.
        own = [weights[index] for index in branch.weights]
        sums, upstream, state, own = _after(
            gradients, (sums, upstream, state, own)
        )
        x = tf.cast(sums[source], dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *own])
            outputs, _, _ = branch.function(x, own, state, record)
        gradients = _dense(
            tape.gradient(
                outputs,
                [x, *own],
                output_gradients=tf.cast(upstream[target], outputs.dtype),
            )
        )
        sums[target] -= tf.cast(outputs, tf.float64)
        if gradients[0] is not None:
            upstream[source] += tf.cast(gradients[0], tf.float64)
        for index, gradient in zip(branch.weights, gradients[1:], strict=True):
            of_weights[index] = _sum(of_weights[index], gradient)
    return upstream, of_weights


def _after(signals, tensors):
    """Returns the tensors, not to be computed before the signals are.

    XLA drops control dependencies, and has an optimization barrier that no
    other of TensorFlow's executors knows. A choice that depends on the signals
    and always falls the same way holds everywhere.
    """
    signals = [signal for signal in signals if signal is not None]
    if tf.executing_eagerly() or not signals:
        return tensors
    # All of each: XLA computes a single element apart from the others.
    largest = [tf.cast(tf.reduce_max(signal), tf.float32) for signal in signals]
    never = tf.reduce_any(
        tf.equal(tf.bitcast(tf.stack(largest), tf.int32), _BITS_OF_NO_RESULT)
    )
    _, tensors = tf.while_loop(
        lambda never, _: never,
        lambda _, tensors: (
            tf.constant(False),
            tf.nest.map_structure(tf.zeros_like, tensors),
        ),
        (never, tensors),
    )
    return tensors


def _dense(gradients):
    return [
        None if gradient is None else tf.convert_to_tensor(gradient)
        for gradient in gradients
    ]


def _sum(total, gradient):
    if total is None or gradient is None:
        return gradient if total is None else total
    return total + gradient

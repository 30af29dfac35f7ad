"""Vector quantization: statistics, moving codebooks, losses.

Van den Oord et al., 2017 (https://arxiv.org/abs/1711.00937), with the moving
averages of its appendix A.1. Parts come first, `(parts, number, dim)`: a
decomposed codebook (Kaiser et al., 2018) has several, an ordinary one a single
part. All is computed in float32.
"""

import typing

from keras import ops

from keras_xf.ops import stateless_random
from keras_xf.ops.packing import pack

# So that the logarithm of no hits is finite; that of Sonnet.
PERPLEXITY_EPSILON = 1e-10


class CodebookState(typing.NamedTuple):
    """A codebook that follows moving averages.

    Attributes:
        codes: Float tensor `(parts, num_codes, dim)`.
        counts: `(parts, num_codes)`, moving average of the hits of a step.
        sums: Like `codes`, moving average of the sums of the vectors that hit.
        steps: int32 scalar, number of steps so far.
    """

    codes: typing.Any
    counts: typing.Any
    sums: typing.Any
    steps: typing.Any


def split(vectors, parts: int):
    """Cuts vectors into slices, one for each part.

    Args:
        vectors: Tensor `(number, parts * dim)`.
        parts: Number of parts.

    Returns:
        Tensor `(parts, number, dim)`.
    """
    if parts == 1:
        return vectors[None]
    dim = vectors.shape[-1] // parts
    return ops.transpose(ops.reshape(vectors, (-1, parts, dim)), (1, 0, 2))


def join(vectors):
    """Puts the slices of `split` side by side again.

    Args:
        vectors: Tensor `(parts, number, dim)`.

    Returns:
        Tensor `(number, parts * dim)`.
    """
    parts, _, dim = vectors.shape
    if parts == 1:
        return vectors[0]
    return ops.reshape(ops.transpose(vectors, (1, 0, 2)), (-1, parts * dim))


def look_up(codebook, indices):
    """The codes of indices, with a dense gradient.

    Args:
        codebook: Float tensor `(parts, num_codes, dim)`.
        indices: Integer tensor `(parts, number)`.

    Returns:
        Tensor `(parts, number, dim)`. Of an index below 0 it is the first.
    """
    # The reshape reads a variable: a custom gradient takes tensors only. On a
    # CPU a gather of -1 fails, and XLA takes another row for it.
    return _look_up(
        ops.reshape(codebook, codebook.shape), ops.maximum(indices, 0)
    )


def statistics(vectors, indices, num_codes: int, weights=None):
    """Counts the hits of each code and sums the vectors that hit it.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        indices: Integer tensor `(parts, number)`.
        num_codes: Number of codes of a part.
        weights: Float tensor `(number,)`; ones by default.

    Returns:
        Counts `(parts, num_codes)` and sums `(parts, num_codes, dim)`.
    """
    vectors = ops.cast(vectors, "float32")
    if weights is not None:
        vectors = vectors * weights[:, None]
    return (
        hits(indices, num_codes, weights),
        _sum_by_code(vectors, indices, num_codes),
    )


def hits(indices, num_codes: int, weights=None):
    """Counts the hits of each code alone.

    Args:
        indices: Integer tensor `(parts, number)`.
        num_codes: Number of codes of a part.
        weights: Float tensor `(number,)`; ones by default.

    Returns:
        Counts `(parts, num_codes)`.
    """
    counted = ops.ones_like(indices, dtype="float32")
    if weights is not None:
        counted = counted * weights
    return _sum_by_code(counted[..., None], indices, num_codes)[..., 0]


def joint_hits(drawn, num_codes: int, weights=None):
    """Counts the hits of each combination of codes, by its packed number.

    Args:
        drawn: Integer tensor `(samples, parts, number)`; each sample hits by
            its share.
        num_codes: Number of codes of a part.
        weights: Float tensor `(number,)`; ones by default.

    Returns:
        Counts `(num_codes**parts,)`.
    """
    samples, parts, _ = drawn.shape
    packed = pack(ops.transpose(drawn, (0, 2, 1)), num_codes)
    counts = [
        hits(packed[sample][None], num_codes**parts, weights)[0]
        for sample in range(samples)
    ]
    return sum(counts) / samples


def mean_statistics(vectors, drawn, num_codes: int, weights=None):
    """Statistics of vectors that hit several codes with a share of each.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        drawn: Integer tensor `(samples, parts, number)`.
        num_codes: Number of codes of a part.
        weights: Float tensor `(number,)`; ones by default.

    Returns:
        Counts `(parts, num_codes)` and sums `(parts, num_codes, dim)`.
    """
    samples = drawn.shape[0]
    pairs = [
        statistics(vectors, drawn[sample], num_codes, weights)
        for sample in range(samples)
    ]
    if samples == 1:
        return pairs[0]
    counts, sums = zip(*pairs, strict=True)
    return sum(counts) / samples, sum(sums) / samples


def look_up_mean(codebook, drawn):
    """The mean of the codes that were drawn, as from `look_up`.

    Args:
        codebook: Float tensor `(parts, num_codes, dim)`.
        drawn: Integer tensor `(samples, parts, number)`.

    Returns:
        Tensor `(parts, number, dim)`.
    """
    samples = drawn.shape[0]
    rows = [look_up(codebook, drawn[sample]) for sample in range(samples)]
    # One code must come out exactly.
    return rows[0] if samples == 1 else sum(rows) / samples


def start_state(codes, steps, *, zero_debias: bool = False, counts=None):
    """The moving averages that belong to a given codebook.

    Args:
        codes: Float tensor `(parts, num_codes, dim)`.
        steps: The steps of the state.
        zero_debias: Whether the averages begin with zeros, which are divided
            out (as Sonnet does), and not with one hit of each code.
        counts: Hits of the codes instead of one each.

    Returns:
        A `CodebookState`.
    """
    if zero_debias:
        zeros = ops.zeros_like(codes)
        return CodebookState(codes, zeros[..., 0], zeros, ops.zeros_like(steps))
    if counts is None:
        counts = ops.ones_like(codes[..., 0])
    # The sums, divided by the counts, must be the codes again.
    sums = codes * counts[..., None]
    return CodebookState(codes, counts, sums, ops.zeros_like(steps))


def ema_step(
    state: CodebookState,
    counts,
    sums,
    *,
    decay: float,
    epsilon: float,
    zero_debias: bool = False,
    keep_unhit: bool = False,
):
    """Moves a codebook towards the vectors that hit it, appendix A.1.

        c = decay c + (1 - decay) n
        m = decay m + (1 - decay) S
        E = m / ((c + epsilon) / (sum(c) + K epsilon) sum(c))

    A step without hits, or with what is not finite, changes nothing.

    Args:
        state: The state before.
        counts: `(parts, num_codes)`, hits of this step, of all replicas.
        sums: `(parts, num_codes, dim)`, sums of the vectors that hit.
        decay: What is left of the averages after a step.
        epsilon: Of the Laplace smoothing, without which an average that has
            gone to zero would be divided by it.
        zero_debias: Whether averages that began with zeros are divided by
            `1 - decay**steps`.
        keep_unhit: Whether a code that was never hit, which such averages
            would move to zero, stays.

    Returns:
        The state after.
    """
    steps = state.steps + 1
    new_counts = state.counts + (counts - state.counts) * (1 - decay)
    new_sums = state.sums + (sums - state.sums) * (1 - decay)
    scale = bias(steps, decay) if zero_debias else 1.0
    means = _smoothed_means(new_counts / scale, new_sums / scale, epsilon)
    if keep_unhit:
        means = ops.where(new_counts[..., None] > 0, means, state.codes)
    new = CodebookState(means, new_counts, new_sums, steps)
    return choose(is_usable(counts, sums), new, state)


def bias(steps, decay: float):
    """The part of an average that did not come from its zeros.

    Args:
        steps: Integer scalar, at least 1.
        decay: Of the average.

    Returns:
        Float32 scalar `1 - decay**steps`.
    """
    return 1.0 - ops.power(decay, ops.cast(steps, "float32"))


def is_usable(counts, sums):
    """Whether there are hits, and all of their vectors are finite.

    Args:
        counts: Hits `(parts, num_codes)`.
        sums: Sums `(parts, num_codes, dim)`.

    Returns:
        Boolean scalar.
    """
    # A sum is as little finite as any of its parts.
    return ops.logical_and(ops.sum(counts) > 0, ops.isfinite(ops.sum(sums)))


def choose(condition, state, other):
    """One of two states.

    Args:
        condition: Boolean scalar.
        state: What is returned where it is true.
        other: What is returned where it is false.
    """
    pairs = zip(state, other, strict=True)
    return CodebookState(*(ops.where(condition, a, b) for a, b in pairs))


def draw_candidates(vectors, weights, seed, num_codes: int):
    """Draws vectors that codes may begin again from, without repeating one.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        weights: `(number,)`, 0 for what must not be drawn; or None.
        seed: A seed of `keras_xf.ops.stateless_random`.
        num_codes: Number of vectors for each part. Where there are less they
            are repeated.

    Returns:
        Tensor `(parts, num_codes, dim)`, and whether anything could be drawn.
    """
    parts, number, dim = ops.shape(vectors)
    # One for all of an empty batch to look at.
    vectors = ops.pad(vectors, ((0, 0), (0, 1), (0, 0)))
    keys = stateless_random.uniform(seed, (parts, number))
    total = ops.cast(number, "int32")
    if weights is not None:
        keys = ops.where(weights > 0, keys, 2.0)
        total = ops.cast(ops.sum(weights > 0), "int32")
    keys = ops.pad(keys, ((0, 0), (0, 1)), constant_values=3.0)
    order = ops.cast(ops.argsort(keys, axis=-1), "int32")
    place = ops.arange(num_codes, dtype="int32") % ops.maximum(total, 1)
    chosen = ops.take(order, place, axis=1)
    chosen += ops.arange(parts, dtype="int32")[:, None] * (number + 1)
    rows = ops.take(ops.reshape(vectors, (-1, dim)), chosen, axis=0)
    return ops.cast(rows, "float32"), total > 0


def place_candidates(dead, rows, found, number, replicas: int):
    """Gives each dead code a vector of its own, taken from replicas in turn.

    Args:
        dead: Boolean `(parts, num_codes)`, the same on all replicas.
        rows: `(parts, num_codes, dim)`, this replica's candidates.
        found: Boolean scalar, whether this replica has any.
        number: Integer, this replica's number.
        replicas: How many there are.

    Returns:
        Rows `(parts, num_codes, dim)`, and 1 where this replica has given one;
        zeros elsewhere. What all have given is their sum.
    """
    parts, num_codes, dim = rows.shape
    rank = ops.cumsum(ops.cast(dead, "int32"), axis=-1) - 1
    is_mine = ops.logical_and(dead, rank % replicas == number)
    is_mine = ops.logical_and(is_mine, found)
    place = ops.maximum(rank, 0) // replicas
    chosen = ops.take(
        ops.reshape(rows, (-1, dim)), _number_all(place, num_codes), axis=0
    )
    chosen = ops.reshape(chosen, (parts, num_codes, dim))
    is_mine = ops.cast(is_mine, "float32")
    return chosen * is_mine[..., None], is_mine


def restart(state: CodebookState, dead, rows, count, scale=1.0):
    """Puts dead codes onto vectors, and lets their averages begin again.

    Codes without their averages would be moved back by the next step.

    Args:
        state: The state before.
        dead: Boolean `(parts, num_codes)`.
        rows: `(parts, num_codes, dim)`, where dead codes go.
        count: Hits that a new code begins with.
        scale: What averages are divided by when they are read; see `bias`.

    Returns:
        The state after.
    """
    count = count * scale
    return CodebookState(
        ops.where(dead[..., None], rows, state.codes),
        ops.where(dead, count, state.counts),
        ops.where(dead[..., None], count * rows, state.sums),
        state.steps,
    )


def mean_square(vectors, codes, weights=None, reduction: str = "mean"):
    """Mean over vectors of the squared difference.

    Args:
        vectors: Float tensor `(parts, number, dim)`.
        codes: Tensor alike.
        weights: `(number,)`; ones by default. What has none counts nothing.
        reduction: Whether it is a "mean" over entries, too, or
            "sum_over_dim", the sum of them.

    Returns:
        Float32 scalar, 0 where there is nothing.
    """
    parts, number, dim = ops.shape(vectors)
    difference = ops.cast(vectors, "float32") - ops.cast(codes, "float32")
    squares = ops.sum(difference * difference, axis=(0, 2))
    if weights is None:
        total = ops.cast(number, "float32")
    else:
        squares = squares * weights
        total = ops.sum(weights)
    entries = parts * dim if reduction == "mean" else 1
    return ops.sum(squares) / (ops.maximum(total, 1.0) * entries)


def perplexity(counts):
    """How many codes are in use, as the exponential of the entropy.

    Args:
        counts: Hits `(..., num_codes)`.

    Returns:
        Float32 tensor `(...)` in `[1, min(num_codes, hits)]`.
    """
    probabilities = _fractions(counts)
    logs = ops.log(probabilities + PERPLEXITY_EPSILON)
    return ops.exp(-ops.sum(probabilities * logs, axis=-1))


def active_codes(counts):
    """Number of codes with any hit; arguments as for `perplexity`."""
    return ops.sum(ops.cast(counts > 0, "float32"), axis=-1)


def dead_fraction(counts, fraction: float):
    """Part of the codes with less than a fraction of the mean of all hits.

    Args:
        counts: Hits `(..., num_codes)`.
        fraction: Of the mean.

    Returns:
        Float32 tensor `(...)`.
    """
    mean = ops.mean(counts, axis=-1, keepdims=True)
    return ops.mean(ops.cast(counts < fraction * mean, "float32"), axis=-1)


def _fractions(counts):
    total = ops.sum(counts, axis=-1, keepdims=True)
    return counts / ops.maximum(total, PERPLEXITY_EPSILON)


def _smoothed_means(counts, sums, epsilon):
    total = ops.sum(counts, axis=-1, keepdims=True)
    smoothed = counts + epsilon
    smoothed = smoothed / (total + counts.shape[-1] * epsilon) * total
    return sums / ops.maximum(smoothed, 1e-30)[..., None]


def _number_all(indices, num_codes):
    """Indices of parts as indices of one table of all."""
    parts = indices.shape[0]
    first = ops.arange(parts, dtype=indices.dtype) * num_codes
    return ops.reshape(indices + first[:, None], (-1,))


def _sum_by_code(values, indices, num_codes):
    parts, _, dim = values.shape
    sums = ops.segment_sum(
        ops.reshape(values, (-1, dim)),
        _number_all(indices, num_codes),
        num_segments=parts * num_codes,
    )
    return ops.reshape(sums, (parts, num_codes, dim))


@ops.custom_gradient
def _look_up(codebook, indices):
    parts, num_codes, dim = codebook.shape
    rows = ops.take(
        ops.reshape(codebook, (-1, dim)),
        _number_all(indices, num_codes),
        axis=0,
    )

    def gradient(upstream):
        # Dense: an optimizer would square rows before it adds them up.
        return _sum_by_code(upstream, indices, num_codes), None

    return ops.reshape(rows, (parts, -1, dim)), gradient

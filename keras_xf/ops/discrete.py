"""Discrete bottlenecks as pure functions of tensors.

Gumbel-softmax (Jang et al., 2017; Maddison et al., 2017) and semantic hashing
(Kaiser & Bengio, 2018), and the straight-through gradient of both and of vector
quantization.
"""

import math

from keras import ops

from keras_xf.ops.logits import wide_dtype

# Below it a softmax is a one-hot vector anyway, and divides by next to nothing.
MIN_TEMPERATURE = 1e-3


def straight_through(value, surrogate):
    """Returns `value`, with the gradient of `surrogate`."""
    # The usual `surrogate + stop_gradient(value - surrogate)` rounds when the
    # two differ in size. Here the added term is exactly zero.
    zero = surrogate - ops.stop_gradient(surrogate)
    return ops.stop_gradient(value) + zero


def saturating_sigmoid(x):
    """Sigmoid stretched to `(-0.1, 1.1)`, then clipped to `[0, 1]`.

    It reaches 0 and 1 at about -2.4 and 2.4, where its gradient vanishes: a
    unit that has decided stays decided.
    """
    return ops.clip(1.2 * ops.sigmoid(x) - 0.1, 0.0, 1.0)


def hash_bits(logits, use_hard):
    """Turns logits into bits that are hard where `use_hard` and soft elsewhere.

    Args:
        logits: Float tensor.
        use_hard: Boolean, or a boolean tensor that broadcasts to `logits`.

    Returns:
        Tensor like `logits`. Hard bits are exactly 0 or 1, soft bits lie in
        `[0, 1]`; both carry the gradient of the soft bits.
    """
    soft = saturating_sigmoid(logits)
    hard = ops.cast(logits > 0, soft.dtype)
    return straight_through(ops.where(use_hard, hard, soft), soft)


def read_bits(bits, ones, zeros):
    """Sums a row of one table for each bit that is 1, of another for each 0.

    A bit in between gets a mixture of both rows.

    Args:
        bits: Float tensor `(..., num_bits)` in `[0, 1]`.
        ones: Tensor `(num_bits, dim)`.
        zeros: Tensor `(num_bits, dim)`.

    Returns:
        Tensor `(..., dim)`.
    """
    # The same as `bits ones + (1 - bits) zeros`, with half the products.
    return ops.matmul(bits, ones - zeros) + ops.sum(zeros, axis=0)


def bit_entropy(counts, total):
    """Mean over bits of their entropy, from 0 to 1 bit.

    Args:
        counts: How often each bit was 1, `(num_bits,)`.
        total: How often it was looked at, a scalar.

    Returns:
        Float32 scalar, 0 where nothing was looked at.
    """
    p = ops.clip(counts / ops.maximum(total, 1.0), 0.0, 1.0)
    return -ops.mean(_x_log_x(p) + _x_log_x(1 - p)) / math.log(2)


def gumbel_noise(uniform):
    """Makes noise whose largest sum with logits is a draw of their softmax.

    Args:
        uniform: Float32 tensor in `[0, 1)`.

    Returns:
        Tensor alike, of about -2.8 to 16.6: no more is cut off than what has
        no number of 24 bits.
    """
    uniform = ops.clip(uniform, 2.0**-24, 1 - 2.0**-24)
    return -ops.log(-ops.log(uniform))


def distance_logits(vectors, codes):
    """The logits `-|x - e|^2` of codes, but for what all have in common.

    Args:
        vectors: Float tensor `(number, dim)`.
        codes: Tensor `(num_codes, dim)` of the same dtype.

    Returns:
        Tensor `(number, num_codes)`, without `|x - mean(e)|^2`, which a softmax
        does not see.
    """
    # What all codes share would cost digits.
    center = ops.stop_gradient(ops.mean(codes, axis=0))
    codes = codes - center
    products = ops.matmul(vectors - center, ops.transpose(codes))
    return 2 * products - ops.sum(codes * codes, axis=-1)


def gumbel_softmax(logits, temperature, hard: bool = False):
    """A softmax that is the closer to one-hot, the lower its temperature.

    Args:
        logits: Float tensor `(..., num_codes)`, with noise in training.
        temperature: Positive number or scalar tensor; at least 0.001 is used.
        hard: Whether the result is one-hot, with the gradient of what it would
            be otherwise.

    Returns:
        Tensor like `logits`, float32 or wider, whose last axis sums to one.
    """
    logits = ops.cast(logits, wide_dtype(logits.dtype))
    temperature = ops.cast(temperature, logits.dtype)
    soft = ops.softmax(logits / ops.maximum(temperature, MIN_TEMPERATURE))
    if not hard:
        return soft
    # From the logits: two equal entries of the softmax need not be equal.
    largest = ops.one_hot(
        ops.argmax(logits, axis=-1), logits.shape[-1], dtype=soft.dtype
    )
    return straight_through(largest, soft)


def divergence_from_uniform(logits, weights=None):
    """Mean of `sum p log p + log K`, which keeps all codes in use.

    Args:
        logits: Float tensor `(number, num_codes)`, without noise.
        weights: `(number,)`; ones by default.

    Returns:
        Scalar, float32 or wider; 0 where there is nothing.
    """
    log_p = ops.log_softmax(ops.cast(logits, wide_dtype(logits.dtype)))
    rows = ops.sum(ops.exp(log_p) * log_p, axis=-1) + math.log(log_p.shape[-1])
    if weights is None:
        total = ops.cast(ops.shape(rows)[0], rows.dtype)
    else:
        weights = ops.cast(weights, rows.dtype)
        rows, total = rows * weights, ops.sum(weights)
    return ops.sum(rows) / ops.maximum(total, 1.0)


def _x_log_x(p):
    return p * ops.log(ops.maximum(p, 1e-30))

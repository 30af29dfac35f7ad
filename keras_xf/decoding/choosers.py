"""Choosers: how a token is picked from the logits of one position."""

import math

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.decoding.filters import keep_nucleus
from keras_xf.ops.distributions import invert_distribution

# Stands in for a temperature of 0: divided by it, any gap between two logits
# becomes so wide that only exact ties keep a weight.
_COLDEST = 1e-30
# Hotter than this, suppressed tokens would come back.
_HOTTEST = 1e30


def greedy(logits, noise=None):
    """Picks the most probable token, the one of lowest id among equals.

    Args:
        logits: Float tensor `(batch, vocabulary)`.
        noise: Ignored. It is here so that all choosers are called alike.

    Returns:
        int32 tensor `(batch,)`.
    """
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def sample(
    logits, noise, *, temperature=1.0, top_k: int | None = None, top_p=None
):
    """Draws a token at random.

    The logits are divided by `temperature`; then the `top_k` tokens of
    greatest logit are kept; then, of what they share among them, the smallest
    set that reaches `top_p` (see `keep_nucleus`). Among equals the lower ids
    are kept. From what is left one token is drawn, by the inverse of the
    cumulative distribution at `noise`.

    Args:
        logits: Float32 tensor `(batch, vocabulary)`.
        noise: Float32 tensor `(batch,)`, uniform in `[0, 1)`.
        temperature: Number or float32 tensor `()` or `(batch,)`. Rows of
            temperature 0 get what `greedy` gives. The default leaves the
            distribution as the model made it.
        top_k: How many tokens to keep, the same for all rows. None keeps all.
            A larger one than the vocabulary does too. In a large vocabulary it
            saves the sorting that `top_p` may otherwise need.
        top_p: Number in `(0, 1]` or float32 tensor `()` or `(batch,)`. None
            and 1 keep all.

    Returns:
        int32 tensor `(batch,)`.

    Raises:
        ValueError: If an option is a number out of range, or there is no
            noise. Values of tensors are not looked at: see
            `assert_sampling_inputs`.
    """
    _check_sampling_options(noise, temperature, top_k, top_p)
    temperature = tf.convert_to_tensor(temperature, tf.float32)
    # Without noise, the first of the tokens that have a weight is drawn.
    noise = tf.where(temperature > 0.0, noise, 0.0)

    token_ids = None
    if top_k is not None and top_k < logits.shape[-1]:
        logits, token_ids = tf.math.top_k(logits, top_k)
    logits = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    temperature = tf.clip_by_value(temperature, _COLDEST, _HOTTEST)
    weights = tf.exp(logits / temperature[..., tf.newaxis])
    if top_p is not None:
        weights = keep_nucleus(weights, tf.convert_to_tensor(top_p, tf.float32))

    index = invert_distribution(weights, noise)
    if token_ids is None:
        return index
    index = tf.expand_dims(index, axis=-1)
    return tf.squeeze(tf.gather(token_ids, index, batch_dims=1), axis=-1)


def _check_sampling_options(noise, temperature, top_k, top_p):
    check(
        noise is not None,
        "`noise` must be given: `generate` makes it from `seed`.",
        noise=noise,
    )
    if isinstance(temperature, int | float):
        check(
            0 <= temperature < math.inf,
            "`temperature` must be finite and not negative.",
            temperature=temperature,
        )
    check(
        top_k is None or top_k > 0,
        "`top_k` must be None or positive.",
        top_k=top_k,
    )
    if isinstance(top_p, int | float):
        check(0 < top_p <= 1, "`top_p` must lie in (0, 1].", top_p=top_p)


def assert_sampling_inputs(temperature, top_p):
    """Asserts, when the graph runs, what `sample` asks of its options.

    For options that come as tensors with a request. A compiled graph asserts
    nothing: XLA leaves assertions out.

    Args:
        temperature: Float tensor of any shape.
        top_p: Float tensor of any shape.

    Raises:
        tf.errors.InvalidArgumentError: If a temperature is negative or not
            finite, or a `top_p` is out of (0, 1] or not a number. The message
            names the argument.
    """
    temperature = tf.convert_to_tensor(temperature)
    top_p = tf.convert_to_tensor(top_p)
    tf.debugging.Assert(
        tf.reduce_all((temperature >= 0.0) & tf.math.is_finite(temperature)),
        [
            "`temperature` must be finite and not negative. Received:",
            temperature,
        ],
    )
    tf.debugging.Assert(
        tf.reduce_all((top_p > 0.0) & (top_p <= 1.0)),
        ["`top_p` must lie in (0, 1]. Received:", top_p],
    )

"""Relative positions in attention with a memory (Dai et al., 2019).

The keys of a segment are those of its memory and then its own, so that the
distance from query `i` back to key `j` is `i + (K - S) - j`, with `S` queries
and `K` keys.
"""

import math

from keras import ops

from keras_xf.ops import attention
from keras_xf.ops import positions


def distance_sinusoids(
    source_length,
    dim: int,
    clamp_length: int | None = None,
    dtype: str = "float32",
):
    """Sinusoids of distances, the matrix R of the paper's appendix B.

    Args:
        source_length: Number of keys, a number or a scalar tensor.
        dim: Width, even.
        clamp_length: Distances beyond it get the sinusoids of it.
        dtype: Dtype of the result. The angles are in float32 or wider: half
            precision cannot tell distance 2049 from 2048.

    Returns:
        Tensor `(source_length + 1, dim)`, of the distances from `source_length`
        down to 0. That is one more than there are keys, which `shift` needs.
    """
    distance = source_length - ops.arange(source_length + 1)
    if clamp_length is not None:
        distance = ops.minimum(distance, clamp_length)
    return positions.sinusoids(distance, dim, dtype)


def shift(logits):
    """Moves each query's logits from its distances to its keys.

    This is the shift of the paper's appendix B, in one slice: with a column
    for a distance that no key has, a row of distances is one longer than a row
    of keys, and to read them as rows of keys moves each by one more.

    Args:
        logits: Tensor `(..., S, K + 1)`, whose columns are of the distances
            `K` down to 0.

    Returns:
        Tensor `(..., S, K)`, whose entry `[i, j]` is of the distance
        `i + (K - S) - j`. Where that is negative, for keys that come after
        the query, it is of something else, and is to be masked.
    """
    *lead, target_length, columns = ops.shape(logits)
    flat = ops.reshape(logits, (*lead, target_length * columns))
    return ops.reshape(
        flat[..., target_length:], (*lead, target_length, columns - 1)
    )


def attend(
    query,
    key,
    value,
    position_key,
    *,
    content_bias,
    position_bias,
    source_mask=None,
    attention_window: int | None = None,
    dropout: float = 0.0,
    seed=None,
):
    """Causal attention by content and distance, section 3.3 of the paper.

    The logit of query `i` and key `j` is `(q_i + u) k_j + (q_i + v) r_(i - j)`
    over `sqrt(key_dim)`, with the content bias `u`, the position bias `v` and
    the projected sinusoids `r` of the distance.

    Args:
        query: Float tensor `(batch, num_heads, S, key_dim)`.
        key: Float tensor `(batch, num_heads, K, key_dim)`, the queries' own
            positions last.
        value: Float tensor `(batch, num_heads, K, value_dim)`.
        position_key: Float tensor `(num_heads, K + 1, key_dim)`, or with a
            batch axis before, of the distances `K` down to 0.
        content_bias: Float tensor `(num_heads, key_dim)`.
        position_bias: Float tensor `(num_heads, key_dim)`.
        source_mask: Boolean `(batch, K)`, True where the key is real.
        attention_window: How many positions a query sees, itself the first;
            all before it if None.
        dropout: Fraction of the attention weights that is dropped.
        seed: Integer or `keras.random.SeedGenerator` of the dropout.

    Returns:
        Float tensor `(batch, num_heads, S, value_dim)`. A query that sees no
        key gives zeros.

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860)
    """
    target_length, source_length = ops.shape(query)[2], ops.shape(key)[2]
    by_distance = ops.matmul(
        # Scaling the query touches fewer numbers than scaling the logits.
        (query + position_bias[:, None]) * (1.0 / math.sqrt(query.shape[-1])),
        ops.swapaxes(position_key, -1, -2),
    )
    query_positions = source_length - target_length + ops.arange(target_length)
    attention_mask = None
    if attention_window is not None:
        distance = query_positions[:, None] - ops.arange(source_length)
        attention_mask = (distance < attention_window)[None]
    return attention.attend(
        query + content_bias[:, None],
        key,
        value,
        padding_mask=source_mask,
        attention_mask=attention_mask,
        causal=True,
        query_positions=query_positions,
        logit_bias=shift(by_distance),
        dropout=dropout,
        seed=seed,
    )

"""Attention with dropout and its gradients, of whole matrices in float64."""

import numpy as np


def attend(query, key, value, seen, factors=1.0):
    """Attention whose weights are multiplied by given factors.

    Args:
        query: Array `(batch, num_heads, target_length, key_dim)`.
        key: Array `(batch, num_heads, source_length, key_dim)`.
        value: Array `(batch, num_heads, source_length, value_dim)`.
        seen: Booleans that broadcast to all pairs, True for those that count.
        factors: Numbers that broadcast likewise, zero where dropped.

    Returns:
        Array `(batch, num_heads, target_length, value_dim)`.
    """
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    return np.einsum(
        "bhts,bhsd->bhtd", _weights(query, key, seen) * factors, value
    )


def gradients(query, key, value, seen, upstream, factors=1.0):
    """Gradients of the sum of `upstream * attend(...)`.

    Args:
        query: As in `attend`.
        key: As in `attend`.
        value: As in `attend`.
        seen: As in `attend`.
        upstream: Array like the outputs.
        factors: As in `attend`.

    Returns:
        List of arrays like `query`, `key` and `value`.
    """
    query, key, value, upstream = (
        np.asarray(x, "float64") for x in (query, key, value, upstream)
    )
    weights = _weights(query, key, seen)
    of_weights = np.einsum("bhtd,bhsd->bhts", upstream, value) * factors
    mean = np.sum(weights * of_weights, axis=-1, keepdims=True)
    of_logits = weights * (of_weights - mean) / np.sqrt(query.shape[-1])
    return [
        np.einsum("bhts,bhsd->bhtd", of_logits, key),
        np.einsum("bhts,bhtd->bhsd", of_logits, query),
        np.einsum("bhts,bhtd->bhsd", weights * factors, upstream),
    ]


def _weights(query, key, seen):
    logits = np.einsum("bhtd,bhsd->bhts", query, key)
    logits /= np.sqrt(query.shape[-1])
    # Small enough here, so that nothing need be subtracted.
    weights = np.exp(logits) * seen
    total = np.sum(weights, axis=-1, keepdims=True)
    return weights / np.where(total > 0, total, 1)

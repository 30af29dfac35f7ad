"""Attention in branches one row, one branch and one query at a time."""

import math

import numpy as np


def attend(query, value, key, weights, kappa, alpha, mask=None, act=None):
    """Weighted sum of the branches' networks, equations 3 to 6.

    Args:
        query: Array `(batch, target_length, dim)`.
        value: Array `(batch, source_length, dim)`.
        key: Array like it.
        weights: For each branch a dict of matrices `query`, `key`, `value`,
            `output` and `widen`, vectors `widen_bias`, the matrix `narrow`;
            vectors `query_bias`, `key_bias`, `value_bias` and `output_bias`
            where there are any. `narrow_bias` is that of the first.
        kappa: A number for each branch.
        alpha: Likewise.
        mask: Boolean `(batch, target_length, source_length)`.
        act: Activation of a vector; ReLU if None.

    Returns:
        Array `(batch, target_length, dim)`.
    """
    act = act or (lambda x: np.maximum(x, 0))
    rows = []
    for row in range(len(query)):
        for place in range(query.shape[1]):
            total = weights[0]["narrow_bias"].copy()
            seen = range(key.shape[1])
            if mask is not None:
                seen = [s for s in seen if mask[row, place, s]]
            for part, k, a in zip(weights, kappa, alpha, strict=True):
                head = _head(
                    query[row, place], key[row], value[row], part, seen
                )
                projected = k * (head @ part["output"] + part["output_bias"])
                units = act(projected @ part["widen"] + part["widen_bias"])
                total += a * (units @ part["narrow"])
            rows.append(total)
    return np.reshape(rows, query.shape[:2] + (-1,))


def _head(query, keys, values, part, seen):
    q = query @ part["query"] + part["query_bias"]
    logits = [
        q @ (keys[s] @ part["key"] + part["key_bias"]) / math.sqrt(len(q))
        for s in seen
    ]
    width = part["value"].shape[1]
    if not logits:
        return np.zeros(width)
    exponents = np.exp(np.array(logits) - max(logits))
    head = np.zeros(width)
    for exponent, s in zip(exponents, seen, strict=True):
        value = values[s] @ part["value"] + part["value_bias"]
        head += exponent / exponents.sum() * value
    return head

"""Attention one query, one head and one key at a time."""

import math

import numpy as np


def attend(query, key, value, visible):
    """Attention over the keys that `visible` lets each query see.

    Args:
        query: Array `(batch, num_heads, target_length, key_dim)`.
        key: Array `(batch, num_heads, source_length, key_dim)`.
        value: Array `(batch, num_heads, source_length, value_dim)`.
        visible: A function of row, query and key number.

    Returns:
        Array `(batch, num_heads, target_length, value_dim)` in float64.
    """
    batch, num_heads, target_length, key_dim = query.shape
    outputs = np.zeros((*query.shape[:3], value.shape[-1]))
    for row in range(batch):
        for head in range(num_heads):
            for target in range(target_length):
                total = 0.0
                for source in range(key.shape[2]):
                    if not visible(row, target, source):
                        continue
                    product = np.dot(
                        query[row, head, target].astype("float64"),
                        key[row, head, source].astype("float64"),
                    )
                    factor = math.exp(product / math.sqrt(key_dim))
                    total += factor
                    outputs[row, head, target] += (
                        factor * value[row, head, source]
                    )
                if total:
                    outputs[row, head, target] /= total
    return outputs

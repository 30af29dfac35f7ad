"""How many of the codes some images use."""

from collections.abc import Mapping

import numpy as np

from keras_xf.metrics.code_usage import DEAD_FRACTION


def code_use(
    codes: Mapping[str, np.ndarray], num_codes: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Counts codes, as `keras_xf.metrics.CodeUsage` does in training.

    Codes of several parts, or of bits, count as one number here: the joint
    perplexity, not the mean over parts.

    Args:
        codes: Integer arrays by name.
        num_codes: How many codes there are, by name.

    Returns:
        By name: `perplexity`, the exponential of the entropy of the codes;
        `active_codes`, those with any hit; `dead_fraction`, the part of all
        codes with less than 3 % of the mean of all codes' hits: hits of these
        images alone, where that of a training is by the codebook's running
        counts, if it has any. Few images hit few codes: 100 places can have no
        perplexity above 100, and of 1000 codes 900 are dead then, whatever the
        codebook is like.
    """
    return {name: _use(codes[name], num_codes[name]) for name in codes}


def _use(codes, number):
    # Of those with a hit alone: of bits there can be thousands of millions.
    _, hits = np.unique(codes, return_counts=True)
    probs = hits / hits.sum()
    alive = np.sum(hits >= DEAD_FRACTION * hits.sum() / number)
    return {
        "perplexity": float(np.exp(-np.sum(probs * np.log(probs)))),
        "active_codes": len(hits),
        "dead_fraction": float(1 - alive / number),
    }

"""Projection onto the simplex, by trying all sets of weights that are free."""

import itertools

import numpy as np


def project(x, min_weight=0.0):
    """The nearest weights of at least `min_weight` that sum to one.

    Of each choice of the weights that are above the smallest, these share what
    is left in equal distance; the nearest of all that are allowed is taken.

    Args:
        x: Array `(number,)`.
        min_weight: The smallest weight.

    Returns:
        Array `(number,)`.
    """
    x = np.asarray(x, "float64")
    best = None
    for choice in itertools.product([False, True], repeat=len(x)):
        free = np.array(choice)
        if not free.any():
            continue
        w = np.full(len(x), min_weight)
        rest = 1 - min_weight * (~free).sum()
        w[free] = x[free] + (rest - x[free].sum()) / free.sum()
        if w.min() < min_weight - 1e-12:
            continue
        distance = ((w - x) ** 2).sum()
        if best is None or distance < best[0]:
            best = distance, w
    return best[1]

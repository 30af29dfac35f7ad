"""Adaptive embedding and softmax, token by token in float64."""

import numpy as np


def embed(token_ids, cutoffs, tables, projections):
    """Looks up vectors.

    Args:
        token_ids: Integers `(tokens,)`.
        cutoffs: Tokens with which a new bin begins.
        tables: Array `(tokens, width)` for each bin.
        projections: Array `(width, dim)` for each bin.

    Returns:
        Array `(tokens, dim)`, multiplied by the square root of `dim`.
    """
    rows = []
    for token in token_ids:
        number, row = _place(token, cutoffs)
        projection = np.asarray(projections[number], "float64")
        vector = np.asarray(tables[number], "float64")[row] @ projection
        rows.append(vector * projection.shape[1] ** 0.5)
    return np.stack(rows)


def log_prob(vector, token, cutoffs, bins, entries):
    """Log-probability of one token.

    Args:
        vector: Array `(dim,)`.
        token: The token.
        cutoffs: Tokens with which a new bin begins.
        bins: For each bin its table `(tokens, width)`, bias `(tokens,)` and
            projection `(width, dim)`.
        entries: Table `(bins - 1, width)` and bias `(bins - 1,)` of the bins
            themselves, None if there is one.

    Returns:
        A number.
    """
    number, row = _place(token, cutoffs)
    scores = [_scores(vector, *parts) for parts in bins]
    head = list(scores[0])
    if entries is not None:
        head += list(_scores(vector, *entries, bins[0][2]))
    if number == 0:
        return _log_softmax(head, row)
    entry = len(scores[0]) + number - 1
    return _log_softmax(head, entry) + _log_softmax(scores[number], row)


def _place(token, cutoffs):
    """Number of a token's bin, and its place in it."""
    number = sum(token >= cutoff for cutoff in cutoffs)
    return number, token - (0, *cutoffs)[number]


def _scores(vector, table, bias, projection):
    return [
        sum(
            table[token, e] * projection[e, d] * vector[d]
            for e in range(table.shape[1])
            for d in range(len(vector))
        )
        + bias[token]
        for token in range(len(table))
    ]


def _log_softmax(scores, place):
    return scores[place] - np.log(np.sum(np.exp(scores)))

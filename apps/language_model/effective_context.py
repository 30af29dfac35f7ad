"""Relative effective context length (Dai et al., 2019), as arithmetic."""

from collections.abc import Sequence

import numpy as np

from keras_xf.checks import check

# A gain below it is none.
_LEAST_GAIN = 0.01


def relative_effective_context(
    losses, contexts: Sequence[int], top: float
) -> list[dict]:
    r"""Finds up to which context each model of a group gains from more of it.

    With the loss `l_i(c, t)` of model `i` at position `t` after a context of
    `c` tokens, and `b(c, t)` the least of all models', the positions `T` are
    those with the largest `b(c, t)`, a fraction `top` of all: the hardest ones
    that the group has there. From `c` to a longer context `c'` model `i` gains

        f_i(c, c') = mean over T of min(b(c, t), l_i(c', t))
        g = (exp f_i(c, c) - exp f_i(c, c')) / exp f_i(c, c)

    While that is 1 % or more, `c` goes one step further. Models are compared on
    what the best of them cannot do with less context, so that a weaker model
    does not seem to use more context.

    Args:
        losses: Float array `(models, contexts, positions)`, in nats.
        contexts: The contexts, in even steps.
        top: Fraction of the positions, in `(0, 1]`.

    Returns:
        For each model a dict of `length`, where the gain ends; `is_limit`,
        whether no longer context was there to gain from; and `gains`, the gain
        of each step that was tried.

    Raises:
        ValueError: If the shapes do not fit, a loss is no number, or another
            argument is wrong.

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860), appendix C
    """
    losses = np.asarray(losses, np.float64)
    check(
        losses.ndim == 3 and losses.shape[1] == len(contexts) and losses.size,
        "`losses` must have the shape (models, contexts, positions).",
        shape=losses.shape,
        contexts=list(contexts),
    )
    check(
        np.isfinite(losses).all(),
        "`losses` must be finite.",
        not_finite=int((~np.isfinite(losses)).sum()),
    )
    steps = np.diff(contexts)
    check(
        (steps > 0).all() and len(set(steps)) <= 1,
        "`contexts` must increase in even steps.",
        contexts=list(contexts),
    )
    check(0 < top <= 1, "`top` must lie in (0, 1].", top=top)
    baseline = losses.min(axis=0)
    count = max(1, round(top * losses.shape[2]))
    # Stable: of positions that are equally hard, the first ones.
    hardest = np.argsort(-baseline, axis=1, kind="stable")[:, :count]
    return [
        _effective_context(own, baseline, hardest, contexts) for own in losses
    ]


def _effective_context(own, baseline, hardest, contexts):
    gains = []
    for place in range(len(contexts) - 1):
        before = baseline[place, hardest[place]]
        after = np.minimum(before, own[place + 1, hardest[place]])
        # The least of all losses is no more than the model's own: before it is
        # the mean of the baseline.
        gains.append(float(1 - np.exp(after.mean() - before.mean())))
        if gains[-1] < _LEAST_GAIN:
            break
    ended = bool(gains) and gains[-1] < _LEAST_GAIN
    return {
        "length": int(contexts[len(gains) - ended]),
        "is_limit": not ended,
        "gains": gains,
    }

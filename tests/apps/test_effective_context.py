"""Tests of apps.language_model.effective_context."""

import math

import numpy as np
import pytest

from apps.language_model.effective_context import relative_effective_context


def oracle(losses, contexts, top, model):
    """The paper's words, position by position."""
    num_models, _, num_positions = losses.shape

    def baseline(c, t):
        return min(losses[i][c][t] for i in range(num_models))

    c = 0
    while True:
        order = sorted(range(num_positions), key=lambda t: -baseline(c, t))
        chosen = order[: max(1, round(top * num_positions))]

        def mean(at, c=c, chosen=chosen):
            values = [min(baseline(c, t), losses[model][at][t]) for t in chosen]
            return sum(values) / len(values)

        if c + 1 == len(contexts):
            return contexts[c], True
        f, g = math.exp(mean(c)), math.exp(mean(c + 1))
        if (f - g) / f < 0.01:
            return contexts[c], False
        c += 1


@pytest.mark.parametrize("top", [0.1, 0.5, 1.0])
def test_equals_the_definition(top):
    contexts = [100, 150, 200, 250, 300]
    generator = np.random.default_rng(0)
    ends = set()
    for _ in range(30):
        # Models that gain less and less from each step.
        gains = generator.gamma(1.0, 0.08, (3, len(contexts), 1))
        losses = 5 - np.cumsum(gains, axis=1) + 2 * generator.random(40)
        losses += 0.02 * generator.random((3, len(contexts), 40))
        found = relative_effective_context(losses, contexts, top)
        for model in range(3):
            expected = oracle(losses, contexts, top, model)
            assert (
                found[model]["length"],
                found[model]["is_limit"],
            ) == expected
            ends.add(expected)
    # All kinds of ends were there.
    assert len(ends) >= 4


def test_a_gain_that_ends_is_found():
    # The first model gains 0.05 nats a step up to 30, the second up to 20.
    first = [3.0, 2.95, 2.9, 2.9, 2.9]
    second = [3.1, 2.9, 2.9, 2.9, 2.9]
    losses = np.repeat(np.array([first, second])[..., np.newaxis], 7, axis=2)
    one, other = relative_effective_context(losses, [10, 20, 30, 40, 50], 1.0)
    # At 20 the baseline is the second model's 2.9, which none betters.
    assert one["length"] == other["length"] == 20
    assert one["gains"] == pytest.approx([1 - math.exp(-0.05), 0.0])
    assert other["gains"] == pytest.approx([1 - math.exp(-0.1), 0.0])
    assert not one["is_limit"]
    (alone,) = relative_effective_context(losses[:1], [10, 20, 30, 40, 50], 1.0)
    assert alone["length"] == 30


def test_the_longest_context_is_a_limit():
    losses = np.array([[[3.0], [2.0]], [[3.0], [3.0]]])
    one, other = relative_effective_context(losses, [8, 16], 0.1)
    assert one == {
        "length": 16,
        "is_limit": True,
        "gains": [pytest.approx(1 - math.exp(-1))],
    }
    assert other == {"length": 8, "is_limit": False, "gains": [0.0]}
    (alone,) = relative_effective_context(losses[:1, :1], [8], 1.0)
    assert alone == {"length": 8, "is_limit": True, "gains": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"losses": np.zeros((2, 3))},
            "`losses` must have the shape (models, contexts, positions). "
            "Received: shape=(2, 3), contexts=[10, 20, 30].",
        ),
        (
            {"losses": np.zeros((2, 2, 5))},
            "`losses` must have the shape (models, contexts, positions). "
            "Received: shape=(2, 2, 5), contexts=[10, 20, 30].",
        ),
        (
            {"losses": np.full((2, 3, 1), np.nan)},
            "`losses` must be finite. Received: not_finite=6.",
        ),
        (
            {"contexts": [10, 20, 40]},
            "`contexts` must increase in even steps. "
            "Received: contexts=[10, 20, 40].",
        ),
        ({"top": 0}, "`top` must lie in (0, 1]. Received: top=0."),
    ],
)
def test_rejects(arguments, message):
    given = {
        "losses": np.zeros((2, 3, 5)),
        "contexts": [10, 20, 30],
        "top": 1.0,
        **arguments,
    }
    with pytest.raises(ValueError) as error:
        relative_effective_context(**given)
    assert str(error.value) == message

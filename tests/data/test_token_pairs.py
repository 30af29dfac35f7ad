"""Tests of keras_xf.data.token_pairs."""

import collections
import itertools

import numpy as np
import pytest

from keras_xf.data.token_pairs import BucketedPairs
from keras_xf.data.token_pairs import scored_pairs

BUCKETS = (4, 8, 12)


def make_pairs(number=60, longest=11, seed=0):
    """Pairs whose tokens say which they are."""
    generator = np.random.default_rng(seed)
    return [
        [
            np.full(generator.integers(0, longest + 1), 100 + pair, np.int32)
            for pair in range(number)
        ]
        for _ in range(2)
    ]


def rows_of(batch):
    """What the rows of a batch are: source and target without what is added."""
    inputs, targets, weights = (
        {name: np.asarray(array) for name, array in part.items()}
        for part in batch
    )
    for row, (source_length, target_length) in enumerate(
        zip(inputs["source_length"], inputs["target_length"], strict=True)
    ):
        source = inputs["source_ids"][row]
        target = targets["logits"][row]
        assert (
            source[source_length - 1] == 3 or not weights["logits"][row].any()
        )
        assert (source[source_length:] == 0).all()
        assert (target[target_length:] == 0).all()
        if weights["logits"][row].any():
            assert target[target_length - 1] == 3
            assert inputs["target_ids"][row, 0] == 2
            np.testing.assert_array_equal(
                inputs["target_ids"][row, 1:target_length],
                target[: target_length - 1],
            )
            np.testing.assert_array_equal(
                weights["logits"][row], np.arange(len(target)) < target_length
            )
            yield (
                tuple(source[: source_length - 1]),
                tuple(target[: target_length - 1]),
            )


def as_rows(sources, targets):
    return [
        (tuple(source), tuple(target))
        for source, target in zip(sources, targets, strict=True)
    ]


def test_an_epoch_has_each_pair_once_but_what_fills_no_batch():
    sources, targets = make_pairs()
    pairs = BucketedPairs(sources, targets, 24, BUCKETS, seed=1)
    assert pairs.num_left_out == 0
    everything = collections.Counter(as_rows(sources, targets))
    epochs = []
    for epoch in range(2):
        steps = range(pairs.steps_per_epoch)
        found = [
            row
            for step in steps
            for row in rows_of(
                pairs.batch(epoch * pairs.steps_per_epoch + step)
            )
        ]
        assert collections.Counter(found) <= everything
        # Of each bucket, less than a batch is missing.
        missing = everything - collections.Counter(found)
        assert missing.total() < sum(rows for rows, _ in pairs.shapes)
        epochs.append(found)
    assert epochs[0] != epochs[1]


def test_batches_are_of_a_bucket_and_of_as_many_tokens():
    sources, targets = make_pairs(number=200)
    pairs = BucketedPairs(sources, targets, 48, BUCKETS, seed=1)
    assert pairs.shapes == [(12, 4), (6, 8), (4, 12)]
    seen = set()
    for step in range(pairs.steps_per_epoch):
        inputs, _, _ = pairs.batch(step)
        seen.add(inputs["source_ids"].shape)
        length = inputs["source_ids"].shape[1]
        longer = np.maximum(inputs["source_length"], inputs["target_length"])
        shorter = {4: 0, 8: 4, 12: 8}[length]
        assert (longer > shorter).all()
        assert (longer <= length).all()
    assert seen == set(pairs.shapes)


def test_any_step_can_be_reached_at_once():
    sources, targets = make_pairs()

    def make(seed):
        return BucketedPairs(sources, targets, 24, BUCKETS, seed)

    pairs = make(1)
    first = pairs.steps_per_epoch + 3
    later = make(1).dataset(first).as_numpy_iterator()
    from_the_start = itertools.islice(
        pairs.dataset().as_numpy_iterator(), first, first + 5
    )
    for one, other in zip(from_the_start, later, strict=False):
        for part, same in zip(one, other, strict=True):
            for name in part:
                np.testing.assert_array_equal(part[name], same[name])
    orders = [list(rows_of(make(seed).batch(0))) for seed in (1, 2)]
    assert orders[0] != orders[1]


def test_a_bucket_of_few_pairs_has_batches_of_few():
    sources = [np.array([7] * 2)] * 30 + [np.array([8] * 9)] * 2
    pairs = BucketedPairs(sources, sources, 48, BUCKETS, seed=0)
    assert pairs.shapes == [(12, 4), (2, 12)]
    assert pairs.steps_per_epoch == 3


def test_long_pairs_are_left_out():
    sources, targets = make_pairs(longest=20)
    pairs = BucketedPairs(sources, targets, 24, BUCKETS, seed=0)
    longest = np.array(
        [max(map(len, pair)) for pair in zip(sources, targets, strict=True)]
    )
    assert pairs.num_left_out == (longest > 11).sum() > 0


def test_every_target_is_scored_once():
    sources, targets = make_pairs(longest=20)
    data = scored_pairs(sources, targets, 24, BUCKETS)
    assert len(data) == len(list(data))
    found = [row for batch in data for row in rows_of(batch)]
    assert sorted(found) == sorted(as_rows(sources, targets))
    total = sum(
        float(weights["logits"].numpy().sum()) for _, _, weights in data
    )
    assert total == sum(len(target) + 1 for target in targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"buckets": (8, 4)},
            "`buckets` must be lengths of two or more that increase. "
            "Received: buckets=(8, 4).",
        ),
        (
            {"buckets": ()},
            "`buckets` must be lengths of two or more that increase. "
            "Received: buckets=().",
        ),
        (
            {"batch_tokens": 11},
            "`batch_tokens` must be as many as the last bucket is long. "
            "Received: batch_tokens=11, buckets=(4, 8, 12).",
        ),
        (
            {"source_ids": [np.zeros(20)], "target_ids": [np.zeros(2)]},
            "`source_ids` and `target_ids` must have a pair that fits into "
            "`buckets`. Received: num_pairs=1, buckets=(4, 8, 12).",
        ),
        (
            {"target_ids": []},
            "`source_ids` and `target_ids` must be as many. "
            "Received: source_ids=60, target_ids=0.",
        ),
    ],
)
def test_rejects(arguments, message):
    sources, targets = make_pairs()
    options = {
        "source_ids": sources,
        "target_ids": targets,
        "batch_tokens": 24,
        "buckets": BUCKETS,
        "seed": 0,
    }
    with pytest.raises(ValueError) as error:
        BucketedPairs(**{**options, **arguments})
    assert str(error.value) == message

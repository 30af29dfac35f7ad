"""Pairs of token sequences, in batches of as many tokens."""

import functools
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import PAD

_SPECS = (
    {
        "source_ids": tf.TensorSpec([None, None], tf.int32),
        "source_length": tf.TensorSpec([None], tf.int32),
        "target_ids": tf.TensorSpec([None, None], tf.int32),
        "target_length": tf.TensorSpec([None], tf.int32),
    },
    {"logits": tf.TensorSpec([None, None], tf.int32)},
    {"logits": tf.TensorSpec([None, None], tf.float32)},
)


class BucketedPairs:
    """Endless batches of pairs of like length, a function of seed and step.

    A pair goes into the first bucket that is as long as the longer one of it,
    with its EOS. A batch is of one bucket, padded to its length, and has rows
    enough for `batch_tokens` of each side: few shapes, that is few programs to
    compile. In an epoch each pair comes once, but for those that do not fill a
    batch, which are others in each epoch, and batches of all buckets come in a
    random order.

    Sources are followed by EOS; targets begin with BOS, and what is to be
    predicted ends with EOS.

    Args:
        source_ids: Integer array `(length,)` for each pair.
        target_ids: Likewise.
        batch_tokens: Tokens of a batch on each side, padding counted.
        buckets: Lengths, EOS counted. Pairs that are longer are left out.
        seed: Seed of the orders.

    Attributes:
        steps_per_epoch: Batches of an epoch, the same for all.
        num_left_out: Pairs that are too long.
        shapes: For each bucket in use its rows and its length.

    Example:

    >>> pairs = BucketedPairs(
    ...     source_ids, target_ids, batch_tokens=4096, buckets=(16, 32), seed=0
    ... )
    >>> model.fit(
    ...     pairs.dataset(),
    ...     steps_per_epoch=pairs.steps_per_epoch,
    ...     shuffle=False,  # The data set shuffles itself.
    ... )
    """

    def __init__(
        self,
        source_ids: Sequence,
        target_ids: Sequence,
        batch_tokens: int,
        buckets: Sequence[int],
        seed: int,
    ):
        self._source_ids, self._target_ids = source_ids, target_ids
        lengths = _lengths(source_ids, target_ids)
        _check_buckets(buckets)
        check(
            batch_tokens >= buckets[-1],
            "`batch_tokens` must be as many as the last bucket is long.",
            batch_tokens=batch_tokens,
            buckets=tuple(buckets),
        )
        self.seed = seed
        self.num_left_out = int((lengths > buckets[-1]).sum())
        self._members, self.shapes, self._batches = [], [], []
        for bucket, members in _members(lengths, buckets):
            # A bucket of few pairs has batches of few.
            rows = min(batch_tokens // bucket, len(members))
            number = len(self.shapes)
            self.shapes.append((rows, bucket))
            self._members.append(members)
            self._batches += [
                (number, place) for place in range(len(members) // rows)
            ]
        self.steps_per_epoch = len(self._batches)
        check(
            self.steps_per_epoch > 0,
            "`source_ids` and `target_ids` must have a pair that fits into "
            "`buckets`.",
            num_pairs=len(lengths),
            buckets=tuple(buckets),
        )
        # Of the epoch that is under way.
        self._orders = functools.lru_cache(maxsize=2)(self._draw)

    def dataset(self, first_step: int = 0) -> tf.data.Dataset:
        """Returns the endless data set of `batch(step)` from `first_step` on.

        It equals `dataset().skip(first_step)`, without the wait.
        """

        def batches() -> Iterator:
            step = first_step
            while True:
                yield self.batch(step)
                step += 1

        data = tf.data.Dataset.from_generator(batches, output_signature=_SPECS)
        return data.prefetch(tf.data.AUTOTUNE)

    def batch(self, step: int) -> tuple[dict, dict, dict]:
        """Makes the batch of a step.

        Args:
            step: Counted from 0 through all epochs.

        Returns:
            A triple `(inputs, targets, weights)` of dicts of arrays: `inputs`
            has `source_ids` and `target_ids` int32 `(rows, length)`,
            `source_length` and `target_length` int32 `(rows,)`; `targets` has
            `logits` int32 `(rows, length)`, `weights` likewise float32, 1 where
            a token is to be predicted, else 0.
        """
        epoch, place = divmod(int(step), self.steps_per_epoch)
        order, members = self._orders(epoch)
        bucket, index = self._batches[order[place]]
        rows, length = self.shapes[bucket]
        chosen = members[bucket][index * rows : (index + 1) * rows]
        return _batch(self._source_ids, self._target_ids, chosen, length, rows)

    def _draw(self, epoch):
        generator = np.random.Generator(
            np.random.Philox(key=[self.seed % 2**64, epoch])
        )
        members = [generator.permutation(each) for each in self._members]
        return generator.permutation(self.steps_per_epoch), members


def scored_pairs(
    source_ids: Sequence,
    target_ids: Sequence,
    batch_tokens: int,
    buckets: Sequence[int],
) -> tf.data.Dataset:
    """Pairs in batches that score every target once.

    Args:
        source_ids: Integer array `(length,)` for each pair.
        target_ids: Likewise.
        batch_tokens: Tokens of a batch on each side, padding counted.
        buckets: Lengths to pad to, EOS counted; pairs that are longer have
            batches of multiples of the last, or as long as the longest.

    Returns:
        A data set of known size, of batches as `BucketedPairs` has them. The
        last batch of each bucket is filled up with rows that score nothing.
    """
    lengths = _lengths(source_ids, target_ids)
    _check_buckets(buckets)
    last = buckets[-1]
    longest = int(lengths.max(initial=last))
    buckets = [*buckets, *range(2 * last, longest, last)]
    if longest > last:
        buckets.append(longest)
    batches = [
        (members[start : start + rows], bucket, rows)
        for bucket, members in _members(lengths, buckets)
        for rows in [max(1, batch_tokens // bucket)]
        for start in range(0, len(members), rows)
    ]

    def generate() -> Iterator:
        for members, length, rows in batches:
            yield _batch(source_ids, target_ids, members, length, rows)

    data = tf.data.Dataset.from_generator(generate, output_signature=_SPECS)
    data = data.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return data.prefetch(tf.data.AUTOTUNE)


def _lengths(source_ids, target_ids):
    """Of the longer ones of pairs, with EOS."""
    check(
        len(source_ids) == len(target_ids),
        "`source_ids` and `target_ids` must be as many.",
        source_ids=len(source_ids),
        target_ids=len(target_ids),
    )
    pairs = zip(source_ids, target_ids, strict=True)
    return np.array([max(len(s), len(t)) + 1 for s, t in pairs], np.int64)


def _check_buckets(buckets):
    check(
        len(buckets) > 0
        and list(buckets) == sorted(set(buckets))
        and buckets[0] > 1,
        "`buckets` must be lengths of two or more that increase.",
        buckets=tuple(buckets),
    )


def _members(lengths, buckets):
    """The buckets in use, and the pairs of each."""
    numbers = np.searchsorted(buckets, lengths)
    for number, bucket in enumerate(buckets):
        members = np.flatnonzero(numbers == number)
        if len(members):
            yield bucket, members


def _batch(source_ids, target_ids, members, length, rows):
    """Pads pairs to a length, and to so many rows, which score nothing."""
    sources = np.full((rows, length), PAD, np.int32)
    inputs, targets = sources.copy(), sources.copy()
    source_length, target_length = np.ones((2, rows), np.int32)
    for row, member in enumerate(members):
        source, target = source_ids[member], target_ids[member]
        source_length[row] = len(source) + 1
        target_length[row] = len(target) + 1
        sources[row, : len(source)] = source
        sources[row, len(source)] = EOS
        inputs[row, 0] = BOS
        inputs[row, 1 : len(target) + 1] = target
        targets[row, : len(target)] = target
        targets[row, len(target)] = EOS
    weights = np.arange(length) < target_length[:, None]
    weights[len(members) :] = False
    return (
        {
            "source_ids": sources,
            "source_length": source_length,
            "target_ids": inputs,
            "target_length": target_length,
        },
        {"logits": targets},
        {"logits": weights.astype(np.float32)},
    )

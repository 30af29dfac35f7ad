"""Pieces of labeled texts: drawn at random to train on, cut evenly to score."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.data import token_streams


class RandomPieces:
    """Endless random pieces, each batch a pure function of seed and step.

    A text is divided into as few equal parts as pieces of `length` tokens can
    show. An epoch visits the parts of all texts in a random order, and of each
    takes a piece at a random place, which may reach into the parts beside it.
    Order and places depend on nothing but the seed and the step: any position
    can be reached again at no cost.

    The parts that do not fill a batch are left out, others in each epoch.

    Args:
        token_ids: Integer array `(num_tokens,)` for each text.
        class_ids: Integer array `(texts,)`.
        length: Tokens of a piece, `BOS` counted.
        batch_size: Pieces of a batch.
        seed: Seed of the orders and of the places.

    Attributes:
        steps_per_epoch: Batches of an epoch, the same for all.
    """

    def __init__(
        self,
        token_ids: Sequence,
        class_ids,
        length: int,
        batch_size: int,
        seed: int,
    ):
        token_streams.check_sizes(batch_size=batch_size)
        self._texts = _Texts(token_ids, class_ids, length)
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        num_pieces = self._texts.num_pieces
        self.steps_per_epoch = num_pieces // batch_size
        check(
            self.steps_per_epoch > 0,
            "`token_ids` must have `batch_size` pieces of `length` tokens.",
            num_pieces=num_pieces,
            batch_size=batch_size,
            length=length,
        )

    def dataset(self, first_step: int = 0) -> tf.data.Dataset:
        """Returns the endless data set of `batch(step)` from `first_step` on.

        It equals `dataset().skip(first_step)`, without the wait.
        """
        return token_streams.endless(self.batch, first_step)

    def batch(self, step):
        """Makes the batch of a step, eagerly or in a graph.

        Args:
            step: Integer scalar, counted from 0 through all epochs.

        Returns:
            A pair `(inputs, targets)`: `inputs` has `token_ids` int32
            `(batch_size, length)`, `BOS` and the piece, with `PAD` behind a
            text that is shorter, and `length` int32 `(batch_size,)`; `targets`
            has `logits` int32 `(batch_size,)`, the class.
        """
        step = tf.cast(step, tf.int64)
        place = step % self.steps_per_epoch * self.batch_size
        place += tf.range(self.batch_size, dtype=tf.int64)
        piece = tf.random.experimental.index_shuffle(
            place,
            tf.stack([self.seed, step // self.steps_per_epoch]),
            self._texts.num_pieces - 1,
        )
        row, index, num_pieces, size = self._texts.describe(piece)
        offset = tf.random.stateless_uniform(
            [self.batch_size],
            tf.stack([self.seed, step]),
            dtype=tf.float64,
            alg="philox",
        )
        # The places at which a piece can start are divided among the parts.
        num_starts = size - tf.minimum(size, self.length - 1) + 1
        part = (tf.cast(index, tf.float64) + offset) / tf.cast(
            num_pieces, tf.float64
        )
        start = tf.cast(part * tf.cast(num_starts, tf.float64), tf.int64)
        # Rounded up to 1, a part would start behind the last place.
        start = tf.minimum(start, num_starts - 1)
        stop = tf.minimum(start + self.length - 1, size)
        return self._texts.cut(row, start, stop)


class EvenPieces:
    """Texts cut evenly into as few pieces as fit, in order.

    Args:
        token_ids: Integer array `(num_tokens,)` for each text.
        class_ids: Integer array `(texts,)`.
        length: Most tokens of a piece, `BOS` counted.
        max_pieces: If given, no more pieces than these are taken, at equal
            distances among all.

    Attributes:
        rows: The place of the text of each piece, int64 `(pieces,)`.
    """

    def __init__(
        self,
        token_ids: Sequence,
        class_ids,
        length: int,
        max_pieces: int | None = None,
    ):
        check(
            max_pieces is None or max_pieces > 0,
            "`max_pieces` must be positive.",
            max_pieces=max_pieces,
        )
        self._texts = _Texts(token_ids, class_ids, length)
        num_pieces = self._texts.num_pieces
        taken = min(num_pieces, max_pieces or num_pieces)
        self._pieces = tf.range(taken, dtype=tf.int64) * num_pieces // taken
        self.rows = self._texts.describe(self._pieces)[0].numpy()

    def dataset(self, batch_size: int) -> tf.data.Dataset:
        """Returns the data set of the pieces, of known size.

        Args:
            batch_size: Pieces of a batch. The last batch is filled up with
                rows that are not scored.

        Returns:
            A data set of `(inputs, targets, weights)`: `inputs` and `targets`
            as in `RandomPieces.batch`; `weights` has `logits` float32
            `(batch_size,)`, 1 for each piece and 0 for what fills up.
        """
        token_streams.check_sizes(batch_size=batch_size)
        num_pieces = len(self.rows)

        def make_batch(step):
            place = step * batch_size + tf.range(batch_size, dtype=tf.int64)
            piece = tf.gather(self._pieces, tf.minimum(place, num_pieces - 1))
            row, index, parts, size = self._texts.describe(piece)
            start, stop = part_bounds(index, parts, size)
            is_piece = tf.cast(place < num_pieces, tf.float32)
            inputs, targets = self._texts.cut(row, start, stop)
            return inputs, targets, {"logits": is_piece}

        steps = tf.data.Dataset.range(-(-num_pieces // batch_size))
        return steps.map(make_batch).prefetch(tf.data.AUTOTUNE)


def count_parts(num_tokens, length: int):
    """Returns into how many pieces texts are cut.

    Args:
        num_tokens: Integer tensor, the tokens of each text.
        length: Most tokens of a piece, `BOS` counted.
    """
    # A text without tokens is a piece all the same.
    return tf.maximum(-(-num_tokens // (length - 1)), 1)


def part_bounds(index, num_parts, num_tokens):
    """Returns where a part of a text starts and stops.

    Args:
        index: int64 tensor, which part.
        num_parts: int64 tensor, of how many.
        num_tokens: int64 tensor, the tokens of the text.
    """
    start = index * num_tokens // num_parts
    return start, (index + 1) * num_tokens // num_parts


class _Texts:
    """Texts in one stream, and the pieces that each has."""

    def __init__(self, token_ids, class_ids, length):
        check(length >= 2, "`length` must be at least 2.", length=length)
        class_ids = np.asarray(class_ids)
        check(
            len(token_ids) > 0 and class_ids.shape == (len(token_ids),),
            "`class_ids` must have a class for each of the texts, of which "
            "there must be one.",
            texts=len(token_ids),
            class_ids=class_ids.shape,
        )
        sizes = np.array([len(ids) for ids in token_ids], np.int64)
        parts = count_parts(sizes, length).numpy()
        self.num_pieces = int(parts.sum())
        self._length = length
        # Never empty, which a stream must not be.
        self._stream = token_streams.to_stream(
            np.concatenate([*token_ids, np.zeros(1, token_ids[0].dtype)])
        )
        with tf.device("CPU:0"):
            self._sizes = tf.constant(sizes)
            self._starts = tf.constant(np.cumsum(sizes) - sizes)
            self._parts = tf.constant(parts)
            self._last_piece = tf.constant(np.cumsum(parts) - 1)
            self._class_ids = tf.constant(class_ids, tf.int32)

    def describe(self, piece):
        """Returns text, index in it, pieces and tokens of it."""
        row = tf.searchsorted(self._last_piece, piece, out_type=tf.int64)
        num_parts = tf.gather(self._parts, row)
        index = piece - tf.gather(self._last_piece, row) + num_parts - 1
        return row, index, num_parts, tf.gather(self._sizes, row)

    def cut(self, row, start, stop):
        """Returns the inputs and targets of pieces."""
        first = tf.gather(self._starts, row)
        # Cut as for a language model: `BOS`, and all but one token more.
        inputs, _, _ = token_streams.cut_pieces(
            self._stream, first + start, first + stop + 1, self._length
        )
        return inputs, {"logits": tf.gather(self._class_ids, row)}

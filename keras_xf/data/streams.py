"""Contiguous rows of a token stream, for models that carry a memory."""

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.data import token_streams


class ContiguousStreams:
    """Endless batches whose rows continue in the next batch.

    The stream is cut into `batch_size` rows of equal length, side by side, and
    each row into segments. The batch of a step holds the rows' segments of that
    step: row `r` of step `s + 1` begins with the token that follows row `r` of
    step `s`.

    After `steps_per_epoch` steps every row begins anew: a memory is to be reset
    at each step that `steps_per_epoch` divides, and only there. Every epoch is
    the same; the tokens at the end of the stream that do not fill a segment in
    each row, fewer than `batch_size * segment_length`, are left out.

    Args:
        token_ids: Integer array `(length of the stream,)`.
        segment_length: Tokens of a row in a batch.
        batch_size: Rows.
        target: Name of the model's output that the targets are for: "logits",
            or "log_probs" of a Transformer-XL.

    Attributes:
        steps_per_epoch: Segments of a row.
    """

    def __init__(
        self,
        token_ids,
        segment_length: int,
        batch_size: int,
        target: str = "logits",
    ):
        token_streams.check_sizes(
            segment_length=segment_length, batch_size=batch_size
        )
        self._stream = token_streams.to_stream(token_ids)
        self.segment_length = segment_length
        self.batch_size = batch_size
        self.target = target
        num_tokens = len(self._stream)
        self.steps_per_epoch = num_tokens // (segment_length * batch_size)
        check(
            self.steps_per_epoch > 0,
            "`token_ids` must have `batch_size` segments of `segment_length` "
            "tokens.",
            num_tokens=num_tokens,
            batch_size=batch_size,
            segment_length=segment_length,
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
            `(batch_size, segment_length)`, the token before each target, or
            `BOS` where a row begins, and `length` int32 `(batch_size,)`;
            `targets` has, named `target`, int32 `(batch_size,
            segment_length)`.
        """
        segment = tf.cast(step, tf.int64) % self.steps_per_epoch
        row = tf.range(self.batch_size, dtype=tf.int64)
        segments_before = row * self.steps_per_epoch + segment
        start = segments_before * self.segment_length
        inputs, targets, _ = token_streams.cut_pieces(
            self._stream,
            start,
            start + self.segment_length,
            self.segment_length,
            continues=segment > 0,
        )
        return inputs, {self.target: targets["logits"]}


def scored_streams(
    token_ids, segment_length: int, batch_size: int, target: str = "logits"
) -> tf.data.Dataset:
    """Contiguous rows, once through, that score every token exactly once.

    The rows lie as in `ContiguousStreams`, but nothing is left out: they end
    in a segment that may be shorter, and the last rows may be shorter or have
    no token at all. With one row each token has all of the stream before it.

    Args:
        token_ids: Integer array `(length of the stream,)`, which may be shorter
            than a segment.
        segment_length: Tokens of a row in a batch.
        batch_size: Rows.
        target: As in `ContiguousStreams`.

    Returns:
        A data set of known size, of `(inputs, targets, weights)`: `inputs` and
        `targets` as in `ContiguousStreams.batch`, with `PAD` behind the end of
        a row; `weights` has, named `target`, float32 `(batch_size,
        segment_length)`, 1 where there is a token, else 0. All weights together
        sum to the number of tokens.
    """
    token_streams.check_sizes(
        segment_length=segment_length, batch_size=batch_size
    )
    stream = token_streams.to_stream(token_ids)
    num_tokens = len(stream)
    row_length = -(-num_tokens // batch_size)

    def make_batch(segment):
        row_start = tf.range(batch_size, dtype=tf.int64) * row_length
        row_stop = tf.minimum(row_start + row_length, num_tokens)
        start = row_start + segment * segment_length
        stop = tf.minimum(start + segment_length, row_stop)
        inputs, targets, positions = token_streams.cut_pieces(
            stream, start, stop, segment_length, continues=segment > 0
        )
        is_scored = positions < stop[:, tf.newaxis]
        weights = {target: tf.cast(is_scored, tf.float32)}
        return inputs, {target: targets["logits"]}, weights

    segments = tf.data.Dataset.range(-(-row_length // segment_length))
    return segments.map(make_batch).prefetch(tf.data.AUTOTUNE)

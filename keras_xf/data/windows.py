"""Windows of a token stream: shuffled to train on, in order to score."""

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.data import token_streams


class ShuffledWindows:
    """Endless shuffled windows, each batch a pure function of seed and step.

    An epoch cuts the stream into whole windows side by side and visits them in
    a random order. The first window begins at a random phase below `length`, so
    that the borders between windows differ from epoch to epoch. Phase and order
    depend on nothing but the seed and the epoch: any position can be reached
    again at no cost.

    An epoch has no window twice. What it leaves out differs from epoch to
    epoch: the tokens before the phase, the rest behind the last whole window,
    and the windows that do not fill a batch. A stream that barely holds one
    batch has fewer phases than `length`, or one alone.

    Args:
        token_ids: Integer array `(length of the stream,)`.
        length: Tokens of a window.
        batch_size: Windows of a batch.
        seed: Seed of the phases and of the orders.

    Attributes:
        steps_per_epoch: Batches of an epoch, the same for all.

    Example:

    >>> windows = ShuffledWindows(token_ids, length=128, batch_size=16, seed=0)
    >>> model.fit(
    ...     windows.dataset(),
    ...     steps_per_epoch=windows.steps_per_epoch,
    ...     shuffle=False,  # The data set shuffles itself.
    ... )
    """

    def __init__(self, token_ids, length: int, batch_size: int, seed: int):
        token_streams.check_sizes(length=length, batch_size=batch_size)
        self._stream = token_streams.to_stream(token_ids)
        self._num_tokens = len(self._stream)
        spare = self._num_tokens - batch_size * length
        check(
            spare >= 0,
            "`token_ids` must have `batch_size` windows of `length` tokens.",
            num_tokens=self._num_tokens,
            batch_size=batch_size,
            length=length,
        )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self._num_phases = min(length, spare + 1)
        # As many as fit whatever the phase is.
        num_windows = (self._num_tokens - self._num_phases + 1) // length
        self.steps_per_epoch = num_windows // batch_size

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
            `(batch_size, length)`, `BOS` and the window but its last token,
            and `length` int32 `(batch_size,)`; `targets` has `logits` int32
            `(batch_size, length)`, the window.
        """
        step = tf.cast(step, tf.int64)
        seed = tf.stack([self.seed, step // self.steps_per_epoch])
        phase = tf.random.stateless_uniform(
            [], seed, maxval=self._num_phases, dtype=tf.int64, alg="philox"
        )
        place = step % self.steps_per_epoch * self.batch_size
        place += tf.range(self.batch_size, dtype=tf.int64)
        window = tf.random.experimental.index_shuffle(
            place, seed, (self._num_tokens - phase) // self.length - 1
        )
        start = phase + window * self.length
        inputs, targets, _ = token_streams.cut_pieces(
            self._stream, start, start + self.length, self.length
        )
        return inputs, targets


def scored_windows(
    token_ids,
    length: int,
    batch_size: int,
    stride: int | None = None,
    continues: bool = False,
) -> tf.data.Dataset:
    """Windows in order that score every token of a stream exactly once.

    Windows begin `stride` tokens apart. The first scores all of its tokens, the
    others those that no window before has shown, each with at least
    `length - stride` tokens of context behind the window's `BOS`.

    Args:
        token_ids: Integer array `(length of the stream,)`, which may be shorter
            than a window.
        length: Tokens of a window.
        batch_size: Windows of a batch. The last batch is filled up with rows
            that score nothing.
        stride: Tokens from window to window; `length` by default, which costs
            least and gives the least context.
        continues: Whether windows begin with the token before them, as the
            segments of `ContiguousStreams` do, not with `BOS`; the first has
            none before it.

    Returns:
        A data set of known size, of `(inputs, targets, weights)`: `inputs` and
        `targets` as in `ShuffledWindows.batch`, with `PAD` behind the end of
        the stream; `weights` has `logits` float32 `(batch_size, length)`, 1
        where a token is scored, else 0. All weights together sum to the number
        of tokens.
    """
    token_streams.check_sizes(length=length, batch_size=batch_size)
    stride = length if stride is None else stride
    check(
        0 < stride <= length,
        "`stride` must lie in [1, length].",
        stride=stride,
        length=length,
    )
    stream = token_streams.to_stream(token_ids)
    num_tokens = len(stream)
    # Rounded up: the last window may be short.
    num_windows = 1 + max(0, -((length - num_tokens) // stride))

    def make_batch(step):
        window = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        start = window * stride
        stop = tf.minimum(start + length, num_tokens)
        # Rows behind the last window have no token.
        stop = tf.where(window < num_windows, stop, start)
        scored_from = tf.where(window > 0, start + length - stride, 0)
        inputs, targets, positions = token_streams.cut_pieces(
            stream, start, stop, length, continues=continues & (start > 0)
        )
        is_scored = (positions >= scored_from[:, tf.newaxis]) & (
            positions < stop[:, tf.newaxis]
        )
        return inputs, targets, {"logits": tf.cast(is_scored, tf.float32)}

    steps = tf.data.Dataset.range(-(-num_windows // batch_size))
    return steps.map(make_batch).prefetch(tf.data.AUTOTUNE)

"""How a model predicts tokens after a context of a given length."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from apps.language_model.scoring import window_nll
from apps.language_model.stream_scoring import StreamReader
from keras_xf.text.special_ids import BOS


class ContextLosses:
    """Scores blocks of tokens after contexts of a given length.

    A Transformer-XL reads a context as it reads any text, in segments and with
    its memory, which is blank before. Models without a memory see context and
    block in one window.

    Args:
        model: A language model.
        stream: How a model with a memory reads, as `score_streams` takes it:
            `segment_length`, `memory_length`, `attention_window` and
            `clamp_length`. None for others.
        max_length: Positions that a model has, if there is a limit; it sees no
            context beyond.
        batch_size: Blocks at once.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        stream: dict | None = None,
        max_length: int | None = None,
        batch_size: int = 16,
    ):
        self._max_length = max_length
        self._batch_size = batch_size
        if stream and stream["memory_length"]:
            stream = dict(stream)
            self._score = _reading(stream.pop("segment_length"), model, stream)
        else:
            self._score = _looking(model)

    def __call__(self, token_ids, starts, stride: int, context: int):
        """Scores the blocks.

        Args:
            token_ids: Integer array `(length of the text,)`.
            starts: Where the blocks begin, none before `context`.
            stride: Tokens of a block. The first of it has a context of
                `context` tokens, the last one of `stride - 1` more.
            context: Tokens before a block that the model sees.

        Returns:
            Float array `(blocks, stride)` of minus log-probabilities.
        """
        context = self.limit(context, stride)
        offsets = np.arange(-context, stride)
        windows = np.asarray(token_ids)[np.asarray(starts)[:, None] + offsets]
        windows = windows.astype(np.int32)
        found = []
        for first in range(0, len(windows), self._batch_size):
            rows = windows[first : first + self._batch_size]
            # The last batch is filled up: another size would compile anew.
            spare = self._batch_size - len(rows)
            filled = np.pad(rows, ((0, spare), (0, 0)), mode="edge")
            found.append(np.asarray(self._score(filled, stride))[: len(rows)])
        return np.concatenate(found)

    def limit(self, context: int, stride: int) -> int:
        """Returns how much of a context the model can see."""
        if self._max_length is None:
            return context
        return max(0, min(context, self._max_length - stride))


def _reading(segment_length, model, settings) -> Callable:
    """Scores windows that are read with a memory."""
    reader = StreamReader(model, **settings)

    def score(windows, stride):
        inputs, targets = windows[:, :-1], windows[:, 1:]
        state = reader.blank(len(windows), segment_length)
        unscored = inputs.shape[1] - stride
        # Whole segments but for the first, so that few shapes are compiled.
        stops = range(unscored % segment_length, unscored + 1, segment_length)
        start = 0
        for stop in stops:
            if stop > start:
                state = reader.read(tf.constant(inputs[:, start:stop]), state)
                start = stop
        nll = []
        while start < inputs.shape[1]:
            piece = slice(start, start + segment_length)
            nats, state = reader.score(
                tf.constant(inputs[:, piece]),
                state,
                tf.constant(targets[:, piece]),
            )
            nll.append(nats)
            start += segment_length
        return np.concatenate(nll, axis=1)

    return score


def _looking(model) -> Callable:
    """Scores windows that are seen at once."""
    nll, continues = window_nll(model)

    @tf.function
    def score(windows, stride):
        inputs, targets = windows[:, :-1], windows[:, 1:]
        if not continues:
            begin = tf.fill([tf.shape(windows)[0], 1], BOS)
            inputs = tf.concat([begin, inputs], axis=1)
            targets = windows
        length = tf.fill([windows.shape[0]], inputs.shape[1])
        batch = {"token_ids": inputs, "length": length}
        return nll(batch, targets)[:, -stride:]

    return lambda windows, stride: score(tf.constant(windows), stride)

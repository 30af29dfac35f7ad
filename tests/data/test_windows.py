"""Tests of keras_xf.data.windows.

A stream of different numbers tells, of each token of a batch, where it stood.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.data.windows import ShuffledWindows
from keras_xf.data.windows import scored_windows
from tests.data.numbered_streams import BOS
from tests.data.numbered_streams import FIRST
from tests.data.numbered_streams import as_arrays
from tests.data.numbered_streams import assert_batches_equal
from tests.data.numbered_streams import numbered_stream


def starts_by_epoch(windows, num_epochs):
    """Positions where windows begin, `(num_epochs, windows of an epoch)`."""
    batches = windows.dataset().take(num_epochs * windows.steps_per_epoch)
    starts = [targets["logits"][:, 0] for _, targets in as_arrays(batches)]
    return np.reshape(starts, (num_epochs, -1)) - FIRST


def test_batch_is_windows_and_the_tokens_before():
    windows = ShuffledWindows(numbered_stream(100), 8, 3, seed=0)
    for inputs, targets in as_arrays(windows.dataset().take(9)):
        assert set(inputs) == {"token_ids", "length"}
        assert set(targets) == {"logits"}
        tokens, token_ids = targets["logits"], inputs["token_ids"]
        np.testing.assert_array_equal(np.diff(tokens), np.ones((3, 7)))
        np.testing.assert_array_equal(token_ids[:, 0], [BOS, BOS, BOS])
        np.testing.assert_array_equal(token_ids[:, 1:], tokens[:, :-1])
        np.testing.assert_array_equal(inputs["length"], [8, 8, 8])


def test_batches_have_static_shapes_and_no_end():
    dataset = ShuffledWindows(numbered_stream(100), 8, 3, seed=0).dataset()
    assert dataset.element_spec == (
        {
            "token_ids": tf.TensorSpec([3, 8], tf.int32),
            "length": tf.TensorSpec([3], tf.int32),
        },
        {"logits": tf.TensorSpec([3, 8], tf.int32)},
    )
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize(
    ("num_tokens", "length", "batch_size"),
    [(100, 8, 3), (24, 8, 3), (25, 8, 3), (31, 8, 3), (53, 5, 2), (9, 1, 4)],
)
def test_epoch_has_no_window_twice(num_tokens, length, batch_size):
    stream = numbered_stream(num_tokens)
    windows = ShuffledWindows(stream, length, batch_size, seed=7)
    for starts in starts_by_epoch(windows, num_epochs=6):
        phase = starts.min() % length
        every = np.arange(phase, num_tokens - length + 1, length)
        assert len(set(starts)) == len(starts)
        assert set(starts) <= set(every)
        # Nothing but the rest of a batch is left out, and a window that only
        # some phases have room for.
        assert len(every) - len(starts) <= batch_size


def test_phases_are_all_there_is_room_for():
    for num_tokens, num_phases in [(100, 8), (31, 8), (26, 3), (24, 1)]:
        windows = ShuffledWindows(numbered_stream(num_tokens), 8, 3, seed=0)
        phases = starts_by_epoch(windows, num_epochs=100)[:, 0] % 8
        assert set(phases) == set(range(num_phases))


def test_order_depends_on_seed_and_epoch_alone():
    def orders(seed):
        windows = ShuffledWindows(numbered_stream(400), 4, 5, seed)
        return starts_by_epoch(windows, num_epochs=3) // 4

    np.testing.assert_array_equal(orders(3), orders(3))
    every = [tuple(order) for seed in range(3) for order in orders(seed)]
    assert len(set(every)) == len(every)
    for order in every:
        assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.5


@pytest.mark.parametrize("first_step", [0, 1, 3, 4, 5, 9])
def test_any_step_can_be_reached_again(first_step):
    windows = ShuffledWindows(numbered_stream(100), 8, 3, seed=1)
    assert windows.steps_per_epoch == 3
    skipped = as_arrays(windows.dataset().skip(first_step).take(4))
    reached = as_arrays(windows.dataset(first_step).take(4))
    assert_batches_equal(reached, skipped)
    again = ShuffledWindows(numbered_stream(100), 8, 3, seed=1)
    steps = range(first_step, first_step + 4)
    assert_batches_equal(as_arrays(map(again.batch, steps)), skipped)


def test_steps_per_epoch_are_those_of_the_worst_phase():
    for num_tokens, expected in [(24, 1), (31, 1), (54, 1), (55, 2), (79, 3)]:
        windows = ShuffledWindows(numbered_stream(num_tokens), 8, 3, seed=0)
        assert windows.steps_per_epoch == expected


@pytest.mark.parametrize("num_tokens", [1, 5, 6, 23])
@pytest.mark.parametrize(
    ("length", "stride", "batch_size"),
    [(1, 1, 3), (5, 5, 1), (5, 2, 3), (5, 1, 2)],
)
def test_every_token_is_scored_once_with_its_context(
    num_tokens, length, stride, batch_size
):
    dataset = scored_windows(
        numbered_stream(num_tokens), length, batch_size, stride
    )
    times_scored = np.zeros(num_tokens, int)
    for inputs, targets, weights in as_arrays(dataset):
        for row, offset in itertools.product(range(batch_size), range(length)):
            if not weights["logits"][row, offset]:
                continue
            assert weights["logits"][row, offset] == 1
            position = targets["logits"][row, offset] - FIRST
            times_scored[position] += 1
            assert offset < inputs["length"][row]
            assert offset >= min(position, length - stride)
            # All before the token is what stands before it in the stream.
            np.testing.assert_array_equal(
                inputs["token_ids"][row, : offset + 1],
                [BOS, *range(FIRST + position - offset, FIRST + position)],
            )
    np.testing.assert_array_equal(times_scored, np.ones(num_tokens))


def test_scored_windows_as_written_out():
    dataset = scored_windows(numbered_stream(7), 4, batch_size=2, stride=2)
    (inputs, targets, weights), last = as_arrays(dataset)
    np.testing.assert_array_equal(
        inputs["token_ids"], [[2, 10, 11, 12], [2, 12, 13, 14]]
    )
    np.testing.assert_array_equal(inputs["length"], [4, 4])
    np.testing.assert_array_equal(
        targets["logits"], [[10, 11, 12, 13], [12, 13, 14, 15]]
    )
    np.testing.assert_array_equal(
        weights["logits"], [[1, 1, 1, 1], [0, 0, 1, 1]]
    )
    # A short window, and a row that is there to fill the batch.
    inputs, targets, weights = last
    np.testing.assert_array_equal(
        inputs["token_ids"], [[2, 14, 15, 0], [2, 0, 0, 0]]
    )
    np.testing.assert_array_equal(inputs["length"], [3, 1])
    np.testing.assert_array_equal(
        targets["logits"], [[14, 15, 16, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        weights["logits"], [[0, 0, 1, 0], [0, 0, 0, 0]]
    )


def test_stride_is_the_length_by_default():
    stream = numbered_stream(23)
    assert_batches_equal(
        as_arrays(scored_windows(stream, 5, batch_size=2)),
        as_arrays(scored_windows(stream, 5, batch_size=2, stride=5)),
    )


def test_scored_windows_have_static_shapes_and_a_known_size():
    dataset = scored_windows(numbered_stream(23), 5, batch_size=2, stride=3)
    assert dataset.element_spec == (
        {
            "token_ids": tf.TensorSpec([2, 5], tf.int32),
            "length": tf.TensorSpec([2], tf.int32),
        },
        {"logits": tf.TensorSpec([2, 5], tf.int32)},
        {"logits": tf.TensorSpec([2, 5], tf.float32)},
    )
    # 1 + 18 / 3 windows.
    assert dataset.cardinality() == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda stream: ShuffledWindows(stream, 0, 2, seed=0),
            "`length` must be positive. Received: length=0.",
        ),
        (
            lambda stream: ShuffledWindows(stream, 2, 0, seed=0),
            "`batch_size` must be positive. Received: batch_size=0.",
        ),
        (
            lambda stream: ShuffledWindows(stream, 6, 1, seed=0),
            "`token_ids` must have `batch_size` windows of `length` tokens. "
            "Received: num_tokens=5, batch_size=1, length=6.",
        ),
        (
            lambda stream: ShuffledWindows(stream, 2, 3, seed=0),
            "`token_ids` must have `batch_size` windows of `length` tokens. "
            "Received: num_tokens=5, batch_size=3, length=2.",
        ),
        (
            lambda stream: ShuffledWindows(stream, 2, 2, seed=0).dataset(-1),
            "`first_step` must not be negative. Received: first_step=-1.",
        ),
        (
            lambda stream: scored_windows(stream, -1, batch_size=2),
            "`length` must be positive. Received: length=-1.",
        ),
        (
            lambda stream: scored_windows(stream, 2, batch_size=0),
            "`batch_size` must be positive. Received: batch_size=0.",
        ),
        (
            lambda stream: scored_windows(stream, 2, batch_size=2, stride=0),
            "`stride` must lie in [1, length]. Received: stride=0, length=2.",
        ),
        (
            lambda stream: scored_windows(stream, 2, batch_size=2, stride=3),
            "`stride` must lie in [1, length]. Received: stride=3, length=2.",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call(numbered_stream(5))
    assert str(error.value) == message


def test_windows_can_begin_with_the_token_before():
    stream = numbered_stream(11)
    batches = as_arrays(scored_windows(stream, 4, 2, stride=3, continues=True))
    anew = as_arrays(scored_windows(stream, 4, 2, stride=3))
    firsts = [inputs["token_ids"][:, 0].tolist() for inputs, _, _ in batches]
    assert firsts == [[BOS, FIRST + 2], [FIRST + 5, FIRST + 8]]
    # Nothing else differs.
    for inputs, _, _ in batches + anew:
        inputs["token_ids"] = inputs["token_ids"][:, 1:]
    assert_batches_equal(batches, anew)

"""Tests of keras_xf.data.streams.

A stream of different numbers tells, of each token of a batch, where it stood.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.data.streams import ContiguousStreams
from keras_xf.data.streams import scored_streams
from tests.data.numbered_streams import BOS
from tests.data.numbered_streams import FIRST
from tests.data.numbered_streams import as_arrays
from tests.data.numbered_streams import assert_batches_equal
from tests.data.numbered_streams import numbered_stream


def before(rows):
    """The inputs of rows of targets: what stands before each of them."""
    return np.pad(rows[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)


@pytest.mark.parametrize(
    ("num_tokens", "segment_length", "batch_size", "steps"),
    [(47, 5, 3, 3), (45, 5, 3, 3), (44, 5, 3, 2), (7, 7, 1, 1), (9, 1, 2, 4)],
)
def test_rows_continue_from_batch_to_batch(
    num_tokens, segment_length, batch_size, steps
):
    streams = ContiguousStreams(
        numbered_stream(num_tokens), segment_length, batch_size
    )
    assert streams.steps_per_epoch == steps
    width = steps * segment_length
    rows = FIRST + np.arange(batch_size * width).reshape(batch_size, width)
    batches = as_arrays(streams.dataset().take(2 * steps))
    # Two epochs, which are the same.
    for epoch in (batches[:steps], batches[steps:]):
        targets = [targets["logits"] for _, targets in epoch]
        inputs = [inputs["token_ids"] for inputs, _ in epoch]
        np.testing.assert_array_equal(np.concatenate(targets, axis=1), rows)
        np.testing.assert_array_equal(
            np.concatenate(inputs, axis=1), before(rows)
        )
    for inputs, targets in batches:
        assert set(inputs) == {"token_ids", "length"}
        assert set(targets) == {"logits"}
        np.testing.assert_array_equal(
            inputs["length"], [segment_length] * batch_size
        )


@pytest.mark.parametrize("first_step", [0, 1, 2, 3, 4, 8])
def test_any_step_can_be_reached_again(first_step):
    streams = ContiguousStreams(numbered_stream(47), 5, 3)
    skipped = as_arrays(streams.dataset().skip(first_step).take(4))
    reached = as_arrays(streams.dataset(first_step).take(4))
    assert_batches_equal(reached, skipped)
    steps = range(first_step, first_step + 4)
    assert_batches_equal(as_arrays(map(streams.batch, steps)), skipped)


def test_batches_have_static_shapes_and_no_end():
    dataset = ContiguousStreams(numbered_stream(47), 5, 3).dataset()
    assert dataset.element_spec == (
        {
            "token_ids": tf.TensorSpec([3, 5], tf.int32),
            "length": tf.TensorSpec([3], tf.int32),
        },
        {"logits": tf.TensorSpec([3, 5], tf.int32)},
    )
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("num_tokens", [1, 5, 6, 16, 31])
@pytest.mark.parametrize(
    ("segment_length", "batch_size"), [(1, 1), (5, 1), (5, 3), (2, 7)]
)
def test_every_token_is_scored_once_after_all_of_its_row(
    num_tokens, segment_length, batch_size
):
    dataset = scored_streams(
        numbered_stream(num_tokens), segment_length, batch_size
    )
    batches = as_arrays(dataset)
    assert dataset.cardinality() == len(batches)
    weights = [weights["logits"] for _, _, weights in batches]
    targets = [targets["logits"] for _, targets, _ in batches]
    inputs = [inputs["token_ids"] for inputs, _, _ in batches]
    lengths = np.stack([inputs["length"] for inputs, _, _ in batches], axis=1)
    is_scored = np.concatenate(weights, axis=1)
    assert set(is_scored.ravel()) <= {0.0, 1.0}
    is_scored = is_scored.astype(bool)
    targets = np.concatenate(targets, axis=1)
    inputs = np.concatenate(inputs, axis=1)

    np.testing.assert_array_equal(
        targets[is_scored], numbered_stream(num_tokens)
    )
    np.testing.assert_array_equal(inputs[is_scored], before(targets)[is_scored])
    np.testing.assert_array_equal(targets[~is_scored], 0)
    # Padding stands at the end of rows only, and `length` agrees with it, but
    # for segments without a token, which have length 1.
    assert np.all(np.diff(is_scored.astype(int)) <= 0)
    counts = is_scored.reshape(batch_size, -1, segment_length).sum(axis=-1)
    np.testing.assert_array_equal(lengths, np.maximum(counts, 1))


def test_rows_share_the_tokens_evenly():
    for num_tokens, shares in [(13, [5, 5, 3]), (15, [5, 5, 5])]:
        batches = scored_streams(numbered_stream(num_tokens), 9, 3)
        ((_, _, weights),) = as_arrays(batches)
        np.testing.assert_array_equal(weights["logits"].sum(axis=1), shares)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda stream: ContiguousStreams(stream, 0, 2),
            "`segment_length` must be positive. Received: segment_length=0.",
        ),
        (
            lambda stream: ContiguousStreams(stream, 2, -2),
            "`batch_size` must be positive. Received: batch_size=-2.",
        ),
        (
            lambda stream: ContiguousStreams(stream, 6, 1),
            "`token_ids` must have `batch_size` segments of `segment_length` "
            "tokens. Received: num_tokens=5, batch_size=1, segment_length=6.",
        ),
        (
            lambda stream: ContiguousStreams(stream, 2, 3),
            "`token_ids` must have `batch_size` segments of `segment_length` "
            "tokens. Received: num_tokens=5, batch_size=3, segment_length=2.",
        ),
        (
            lambda stream: ContiguousStreams(stream, 2, 2).dataset(-1),
            "`first_step` must not be negative. Received: first_step=-1.",
        ),
        (
            lambda stream: scored_streams(stream, 0, 2),
            "`segment_length` must be positive. Received: segment_length=0.",
        ),
        (
            lambda stream: scored_streams(stream, 2, 0),
            "`batch_size` must be positive. Received: batch_size=0.",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call(numbered_stream(5))
    assert str(error.value) == message


def test_targets_are_named_as_the_output_that_they_are_for():
    stream = numbered_stream(23)
    named = ContiguousStreams(stream, 5, 2, target="log_probs").batch(1)
    inputs, targets = ContiguousStreams(stream, 5, 2).batch(1)
    assert_batches_equal(
        as_arrays([named]),
        as_arrays([(inputs, {"log_probs": targets["logits"]})]),
    )
    for inputs, targets, weights in scored_streams(stream, 5, 2, "log_probs"):
        assert set(inputs) == {"token_ids", "length"}
        assert set(targets) == set(weights) == {"log_probs"}

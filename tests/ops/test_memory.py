"""Tests of keras_xf.ops.memory."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import memory as buffers

ROWS, DIM = 3, 2


class GrowingLists:
    """What each row remembers, as a list that grows."""

    def __init__(self, shape=()):
        self.shape = shape
        self.rows = [[] for _ in range(ROWS)]

    def append(self, new, lengths):
        """Takes the first of each row's `new` `(ROWS, *shape, length, dim)`."""
        for row, length in enumerate(lengths):
            self.rows[row] += [new[row, ..., i, :] for i in range(length)]

    def last(self, size):
        """What a buffer of a size holds, for each row its real entries."""
        return [row[max(len(row) - size, 0) :] for row in self.rows]


def assert_holds(memory, valid, expected):
    """Compares what is real of a buffer."""
    assert list(valid) == [len(row) for row in expected]
    for entries, row in zip(np.asarray(memory), expected, strict=True):
        size = entries.shape[-2]
        for place, entry in enumerate(row, start=size - len(row)):
            np.testing.assert_array_equal(entries[..., place, :], entry)


def segments(widths, shape=()):
    generator = np.random.default_rng(0)
    for width in widths:
        yield (
            generator.normal(size=(ROWS, *shape, width, DIM)).astype("float32"),
            generator.integers(0, width + 1, ROWS),
        )


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
@pytest.mark.parametrize("size", [0, 1, 4, 9])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_buffer_is_the_end_of_a_growing_list(size, shape, ragged):
    memory = np.full((ROWS, *shape, size, DIM), 7.0, "float32")
    valid = np.zeros(ROWS, "int32")
    lists = GrowingLists(shape)
    for new, lengths in segments([3, 1, 5, 2, 12, 1], shape):
        if not ragged:
            lengths = [new.shape[-2]] * ROWS
        length = np.array(lengths) if ragged else None
        memory = buffers.push(memory, new, length)
        valid = buffers.push_length(valid, size, new.shape[-2], length)
        assert memory.shape == (ROWS, *shape, size, DIM)
        assert valid.dtype == "int32"
        lists.append(new, lengths)
        assert_holds(memory, valid, lists.last(size))


def test_a_row_without_new_entries_stays():
    memory = np.random.default_rng(0).normal(size=(ROWS, 4, DIM))
    new = np.ones((ROWS, 3, DIM))
    pushed = buffers.push(memory, new, [0, 3, 0])
    np.testing.assert_array_equal(pushed[::2], memory[::2])
    np.testing.assert_array_equal(pushed[1, :1], memory[1, 3:])
    np.testing.assert_array_equal(pushed[1, 1:], new[1])


@pytest.mark.parametrize("shape", [(), (2,)])
def test_lengths_out_of_range_reach_no_other_row(shape):
    generator = np.random.default_rng(0)
    memory = generator.normal(size=(ROWS, *shape, 4, DIM)).astype("float32")
    new = generator.normal(size=(ROWS, *shape, 3, DIM)).astype("float32")
    valid = np.full(ROWS, 1, "int32")
    wrong, right = [5, -2, 9], [3, 0, 3]
    np.testing.assert_array_equal(
        buffers.push(memory, new, wrong), buffers.push(memory, new, right)
    )
    np.testing.assert_array_equal(
        buffers.push_length(valid, 4, 3, wrong),
        buffers.push_length(valid, 4, 3, right),
    )


def test_new_entries_take_the_dtype_of_the_buffer():
    memory = tf.zeros((ROWS, 4, DIM), "float32")
    for length in (None, [1, 2, 3]):
        new = tf.ones((ROWS, 3, DIM), "bfloat16")
        assert buffers.push(memory, new, length).dtype == "float32"


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_of_open_shapes_agree(jit_compile):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2, 4, DIM]),
            tf.TensorSpec([None, 2, None, DIM]),
            tf.TensorSpec([None], "int32"),
        ],
        jit_compile=jit_compile,
    )
    def function(memory, new, length):
        width = tf.shape(new)[2]
        mask = tf.sequence_mask(length, width)
        return [
            buffers.push(memory, new),
            buffers.push(memory, new, length),
            buffers.push_length(length, 4, width),
            buffers.push_length(length, 4, width, length),
            buffers.source_mask(length, 4, mask, width),
        ]

    memory = np.zeros((ROWS, 2, 4, DIM), "float32")
    for new, length in segments([1, 3, 6], (2,)):
        width = new.shape[2]
        mask = np.arange(width) < np.c_[length]
        expected = [
            buffers.push(memory, new),
            buffers.push(memory, new, length),
            np.minimum(length + width, 4),
            np.minimum(2 * length, 4),
            # Only 4 can be real.
            buffers.source_mask(length, 4, mask, width),
        ]
        outputs = function(memory, new, length)
        for output, e in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(output, e)
        memory = outputs[1]


def test_masks_mark_the_end_of_a_buffer_and_what_is_new():
    new_mask = [[True, True], [True, False], [False, False]]
    mask = buffers.source_mask([0, 1, 3], 3, np.array(new_mask), 2)
    expected = [
        [False, False, False, True, True],
        [False, False, True, True, False],
        [True, True, True, False, False],
    ]
    np.testing.assert_array_equal(mask, expected)
    mask = np.asarray(buffers.source_mask(np.array([0, 1, 3]), 3, None, 2))
    np.testing.assert_array_equal(mask[:, :3], np.array(expected)[:, :3])
    assert np.all(mask[:, 3:])
    mask = np.asarray(buffers.source_mask(None, 3, np.array(new_mask), 2))
    assert np.all(mask[:, :3])
    np.testing.assert_array_equal(mask[:, 3:], new_mask)


def test_where_all_is_real_there_is_no_mask():
    assert buffers.source_mask(None, 3, None, 2) is None


def test_a_buffer_of_nothing_has_an_empty_mask():
    mask = buffers.source_mask(np.zeros(2, "int32"), 0, np.eye(2) > 0, 2)
    np.testing.assert_array_equal(mask, np.eye(2) > 0)


def test_a_length_below_nothing_counts_as_nothing():
    valid = buffers.push_length(np.array([-3, 2]), 4, 1)
    np.testing.assert_array_equal(valid, [1, 3])

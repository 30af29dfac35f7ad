"""Tests of keras_xf.data.shuffled_rows."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.data.shuffled_rows import ShuffledRows
from keras_xf.data.shuffled_rows import ordered_rows

ARRAYS = {
    "images": np.arange(11, dtype=np.uint8)[:, None] * np.ones(3, np.uint8),
    "class_ids": np.arange(11, dtype=np.int32) + 100,
}


def read_rows(batches):
    """The numbers of rows, batch by batch, whose arrays stay together."""
    rows = []
    for batch in batches:
        numbers = np.array(batch["class_ids"]) - 100
        np.testing.assert_array_equal(
            batch["images"], ARRAYS["images"][numbers]
        )
        rows.append(numbers.tolist())
    return rows


def test_an_epoch_visits_rows_once_in_an_order_of_its_own():
    rows = ShuffledRows(ARRAYS, batch_size=3, seed=5)
    assert rows.steps_per_epoch == 3
    batches = read_rows(rows.dataset().take(60))
    epochs = np.reshape(batches, (20, 9)).tolist()
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len(set(map(str, epochs))) == 20
    # Those that are left out differ, too.
    assert {row for epoch in epochs[:4] for row in epoch} == set(range(11))
    other = ShuffledRows(ARRAYS, batch_size=3, seed=2**32 - 1)
    assert read_rows(other.dataset().take(3)) != batches[:3]


def test_any_step_can_be_reached_again():
    whole = read_rows(ShuffledRows(ARRAYS, 4, seed=0).dataset().take(9))
    for step in (1, 2, 5):
        again = ShuffledRows(ARRAYS, 4, seed=0)
        assert read_rows(again.dataset(step).take(9 - step)) == whole[step:]
        assert read_rows([again.batch(step)]) == whole[step : step + 1]


def test_batches_have_static_shapes_and_no_end():
    dataset = ShuffledRows(ARRAYS, 4, seed=0).dataset()
    assert dataset.element_spec == {
        "images": tf.TensorSpec([4, 3], tf.uint8),
        "class_ids": tf.TensorSpec([4], tf.int32),
    }
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


def test_ordered_rows_are_filled_up_with_what_does_not_count():
    dataset = ordered_rows(ARRAYS, batch_size=4)
    assert int(dataset.cardinality()) == 3
    batches, weights = zip(*dataset, strict=True)
    assert read_rows(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 10]]
    np.testing.assert_array_equal(weights, [[1] * 4, [1] * 4, [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("arrays", "batch_size", "message"),
    [
        (
            ARRAYS,
            0,
            "`batch_size` must be positive. Received: batch_size=0.",
        ),
        (
            ARRAYS,
            12,
            "`arrays` must have `batch_size` rows. "
            "Received: num_rows=11, batch_size=12.",
        ),
        (
            {**ARRAYS, "more": np.zeros(10)},
            2,
            "`arrays` must have as many rows each, and at least one. "
            "Received: rows={'images': 11, 'class_ids': 11, 'more': 10}.",
        ),
        (
            {"images": np.zeros((0, 3))},
            2,
            "`arrays` must have as many rows each, and at least one. "
            "Received: rows={'images': 0}.",
        ),
    ],
)
def test_rejects_what_has_no_batch(arrays, batch_size, message):
    with pytest.raises(ValueError) as error:
        ShuffledRows(arrays, batch_size, seed=0)
    assert str(error.value) == message

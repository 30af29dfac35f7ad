"""Tests of keras_xf.data.text_pieces.

The tokens of a text are different numbers, other ones than those of the texts
beside it: they tell of each piece where it was cut out.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.data.text_pieces import EvenPieces
from keras_xf.data.text_pieces import RandomPieces
from tests.data.numbered_streams import BOS
from tests.data.numbered_streams import PAD
from tests.data.numbered_streams import as_arrays
from tests.data.numbered_streams import assert_batches_equal

SIZES = (25, 3, 0, 7, 8, 40)
CLASSES = (2, 0, 1, 1, 0, 2)
LENGTH = 8
# Of 7 tokens and BOS: 4 + 1 + 1 + 1 + 2 + 6.
NUM_PIECES = 15


def texts(sizes=SIZES):
    return [
        np.arange(size, dtype="uint16") + 100 * (place + 1)
        for place, size in enumerate(sizes)
    ]


def read_rows(batches):
    """Returns (class, tokens without BOS) of each row, after some checks."""
    rows = []
    for inputs, targets, *_ in as_arrays(batches):
        assert set(inputs) == {"token_ids", "length"}
        assert inputs["token_ids"].dtype == inputs["length"].dtype == np.int32
        for token_ids, length, class_id in zip(
            inputs["token_ids"],
            inputs["length"],
            targets["logits"],
            strict=True,
        ):
            assert token_ids[0] == BOS
            assert (token_ids[length:] == PAD).all()
            rows.append((int(class_id), token_ids[1:length].tolist()))
    return rows


def random_pieces(batch_size=4, seed=0, length=LENGTH, sizes=SIZES):
    return RandomPieces(
        texts(sizes), CLASSES[: len(sizes)], length, batch_size, seed
    )


def test_an_epoch_visits_each_part_of_each_text_once():
    pieces = random_pieces(batch_size=5, seed=3)
    assert pieces.steps_per_epoch == 3
    for epoch in range(4):
        dataset = pieces.dataset(3 * epoch).take(3)
        by_text = {place: [] for place in range(len(SIZES))}
        for class_id, tokens in read_rows(dataset):
            # The one text without tokens is known by its class.
            place = tokens[0] // 100 - 1 if tokens else 2
            assert class_id == CLASSES[place]
            size = min(SIZES[place], LENGTH - 1)
            start = tokens[0] % 100 if tokens else 0
            assert tokens == list(texts()[place][start : start + size])
            by_text[place].append(start)
        for place, starts in by_text.items():
            num_parts = max(1, -(-SIZES[place] // (LENGTH - 1)))
            num_starts = max(0, SIZES[place] - (LENGTH - 1)) + 1
            assert len(starts) == num_parts
            for index, start in enumerate(sorted(starts)):
                first = index * num_starts / num_parts
                assert int(first) <= start < first + num_starts / num_parts


def test_places_and_orders_differ_from_epoch_to_epoch_and_seed_to_seed():
    pieces = random_pieces(batch_size=5)
    rows = read_rows(pieces.dataset().take(60))
    epochs = [rows[start : start + 15] for start in range(0, 300, 15)]
    assert len({str(rows) for rows in epochs}) == 20
    # Every place at which a piece of the longest text can start.
    starts = {tokens[0] for rows in epochs for _, tokens in rows if tokens}
    longest = [start for start in starts if start >= 600]
    assert len(longest) > 25
    assert min(longest) <= 602
    assert max(longest) >= 631
    other = random_pieces(batch_size=5, seed=2**32 - 1)
    assert read_rows(other.dataset().take(3)) != epochs[0]


def test_any_step_can_be_reached_again():
    pieces = random_pieces()
    assert pieces.steps_per_epoch == NUM_PIECES // 4
    whole = as_arrays(pieces.dataset().take(12))
    for step in (1, 3, 7):
        again = as_arrays(random_pieces().dataset(step).take(12 - step))
        assert_batches_equal(again, whole[step:])
    assert_batches_equal(as_arrays([pieces.batch(7)]), whole[7:8])


def test_batches_have_static_shapes_and_no_end():
    dataset = random_pieces().dataset()
    assert dataset.element_spec == (
        {
            "token_ids": tf.TensorSpec([4, LENGTH], tf.int32),
            "length": tf.TensorSpec([4], tf.int32),
        },
        {"logits": tf.TensorSpec([4], tf.int32)},
    )
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


def test_even_pieces_are_the_texts_cut_evenly():
    pieces = EvenPieces(texts(), CLASSES, LENGTH)
    assert len(pieces.rows) == NUM_PIECES
    rows = read_rows(pieces.dataset(batch_size=NUM_PIECES))
    for place, text in enumerate(texts()):
        own = [
            row
            for row, of in zip(rows, pieces.rows, strict=True)
            if of == place
        ]
        assert {class_id for class_id, _ in own} == {CLASSES[place]}
        # All of it in order, in parts that differ by a token at most.
        joined = [token for _, tokens in own for token in tokens]
        assert joined == text.tolist()
        sizes = [len(tokens) for _, tokens in own]
        assert max(sizes) <= LENGTH - 1
        assert max(sizes) - min(sizes) <= 1
        assert len(own) == max(1, -(-len(text) // (LENGTH - 1)))


def test_what_fills_the_last_batch_has_no_weight():
    pieces = EvenPieces(texts(), CLASSES, LENGTH)
    whole = read_rows(pieces.dataset(NUM_PIECES))
    dataset = pieces.dataset(batch_size=4)
    assert dataset.cardinality() == 4
    weights = np.concatenate([w["logits"] for _, _, w in dataset])
    assert weights.dtype == np.float32
    assert weights.tolist() == [1.0] * NUM_PIECES + [0.0]
    assert read_rows(dataset)[:NUM_PIECES] == whole


def test_some_even_pieces_stand_for_all():
    whole = EvenPieces(texts(), CLASSES, LENGTH)
    some = EvenPieces(texts(), CLASSES, LENGTH, max_pieces=5)
    rows = read_rows(whole.dataset(NUM_PIECES))
    assert read_rows(some.dataset(5)) == rows[::3]
    assert some.rows.tolist() == whole.rows[::3].tolist()
    more = EvenPieces(texts(), CLASSES, LENGTH, max_pieces=100)
    assert read_rows(more.dataset(NUM_PIECES)) == rows


@pytest.mark.parametrize("name", ["length", "batch_size", "max_pieces"])
def test_rejects_sizes(name):
    arguments = {"length": 8, "batch_size": 2, name: 0}
    with pytest.raises(ValueError) as error:
        if name == "max_pieces":
            del arguments["batch_size"]
            EvenPieces(texts(), CLASSES, **arguments)
        else:
            RandomPieces(texts(), CLASSES, seed=0, **arguments)
    least = "at least 2" if name == "length" else "positive"
    assert str(error.value) == f"`{name}` must be {least}. Received: {name}=0."


def test_rejects_texts_that_fill_no_batch():
    with pytest.raises(ValueError) as error:
        random_pieces(batch_size=16)
    assert str(error.value) == (
        "`token_ids` must have `batch_size` pieces of `length` tokens. "
        "Received: num_pieces=15, batch_size=16, length=8."
    )


@pytest.mark.parametrize("num_texts", [0, 5])
def test_rejects_classes_of_other_texts(num_texts):
    with pytest.raises(ValueError) as error:
        EvenPieces(texts()[:num_texts], CLASSES, LENGTH)
    assert str(error.value) == (
        "`class_ids` must have a class for each of the texts, of which there "
        f"must be one. Received: texts={num_texts}, class_ids=(6,)."
    )

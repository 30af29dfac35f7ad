"""Tests of keras_xf.ops.block_masks and keras_xf.ops.attention_blocks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops.attention_blocks import AttentionBlocks
from keras_xf.ops.attention_blocks import Cut
from keras_xf.ops.block_masks import BlockMasks

BATCH, HEADS, TARGET, SOURCE, BLOCK = 3, 2, 11, 16, 6
RANDOM = np.random.default_rng(0)
# Rows padded at the end, at the start, and everywhere.
PADDING = np.array(
    [np.arange(SOURCE) < 9, np.arange(SOURCE) >= 6, np.zeros(SOURCE, bool)]
)
PAIRS = RANDOM.random((BATCH, TARGET, SOURCE)) < 0.7
POSITIONS = RANDOM.permuted(np.tile(np.arange(TARGET), (BATCH, 1)), axis=1)
EARLIER = np.arange(SOURCE) <= np.arange(TARGET)[:, None]
EARLIER_BY_POSITION = np.arange(SOURCE) <= POSITIONS[:, :, None]
# Arguments, and what is seen.
CASES = {
    "nothing": ({}, True),
    "causal": ({"causal": True}, EARLIER),
    "positions": (
        {"causal": True, "query_positions": POSITIONS},
        EARLIER_BY_POSITION,
    ),
    "positions of all rows": (
        {"causal": True, "query_positions": POSITIONS[0] + 2},
        np.arange(SOURCE) <= POSITIONS[0][:, None] + 2,
    ),
    "padding": ({"padding_mask": PADDING}, PADDING[:, None]),
    "pairs": ({"attention_mask": PAIRS}, PAIRS),
    "all": (
        {
            "causal": True,
            "padding_mask": PADDING,
            "attention_mask": PAIRS,
            "query_positions": POSITIONS,
        },
        EARLIER_BY_POSITION & PADDING[:, None] & PAIRS,
    ),
}


def make_blocks(batched, target=TARGET, source=SOURCE):
    return AttentionBlocks(
        batch_size=BATCH,
        num_heads=HEADS,
        queries=Cut.of(tf.zeros((target,)), 0, BLOCK),
        keys=Cut.of(tf.zeros((source,)), 0, BLOCK),
        batched=batched,
    )


@pytest.mark.parametrize(
    ("length", "block_length", "block", "number"),
    [(12, 4, 4, 3), (13, 4, 4, 4), (9, 4, 3, 3), (3, 4, 3, 1), (4, 1, 1, 4)],
)
def test_a_length_is_cut_into_equal_blocks(length, block_length, block, number):
    cut = Cut.of(tf.zeros((2, length)), 1, block_length)
    assert cut == Cut(length, block, number)
    assert cut.padding == number * block - length


def test_an_unknown_length_is_cut_into_blocks_of_the_given_length():
    seen = []

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def function(x):
        cut = Cut.of(x, 0, 4)
        seen.append(cut.block)
        return cut.length, cut.number, cut.padding

    assert [int(x) for x in function(tf.zeros(9))] == [9, 3, 3]
    assert [int(x) for x in function(tf.zeros(8))] == [8, 2, 0]
    assert seen == [4]


@pytest.mark.parametrize("batched", [False, True])
def test_blocks_are_split_and_joined(batched):
    blocks = make_blocks(batched)
    x = RANDOM.normal(size=(BATCH, HEADS, TARGET, 5))
    split = blocks.split(tf.constant(x), blocks.queries).numpy()
    padded = np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 0)])
    for row, head, number in np.ndindex(BATCH, HEADS, 2):
        part = padded[row, head, BLOCK * number : BLOCK * (number + 1)]
        actual = (
            split[number, row, head]
            if batched
            else split[(row * HEADS + head) * 2 + number]
        )
        np.testing.assert_array_equal(actual, part)
    np.testing.assert_array_equal(blocks.join(split, blocks.queries), x)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_masks_show_what_is_seen(name, batched):
    arguments, seen = CASES[name]
    seen = np.broadcast_to(seen, (BATCH, TARGET, SOURCE))
    blocks = make_blocks(batched)
    masks = BlockMasks(blocks, **arguments)
    shown = np.zeros((blocks.num_rows, BATCH, 2 * BLOCK, 3 * BLOCK), bool)
    logits = tf.zeros((*blocks.lead, BLOCK, BLOCK))
    for row, query_block in np.ndindex(blocks.num_rows, 2):
        num_full, num_seen = map(int, masks.keys_of(row, query_block))
        for key_block in range(3):
            visible = np.asarray(
                masks.hide(logits, row, query_block, key_block) == 0
            )
            if key_block < num_full:
                assert np.all(visible)
            if key_block >= max(num_full, num_seen):
                visible = np.zeros_like(visible)
            if batched:
                visible = visible[:, 0]
            visible = np.swapaxes(visible, -1, -2)
            queries = slice(BLOCK * query_block, BLOCK * (query_block + 1))
            keys = slice(BLOCK * key_block, BLOCK * (key_block + 1))
            shown[row, :, queries, keys] = visible
    assert not np.any(shown[..., SOURCE:])
    for row in range(blocks.num_rows):
        mine = slice(None) if batched else row // HEADS
        np.testing.assert_array_equal(
            shown[row, mine, :TARGET, :SOURCE], seen[mine]
        )


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_both_orders_go_through_the_same_blocks(name, batched):
    blocks = make_blocks(batched)
    masks = BlockMasks(blocks, **CASES[name][0])
    for row in range(blocks.num_rows):
        by_query = [masks.keys_of(row, block) for block in range(2)]
        by_key = [masks.queries_of(row, block) for block in range(3)]
        for query_block, key_block in np.ndindex(2, 3):
            num_full, num_seen = by_query[query_block]
            first_seeing, first_full = by_key[key_block]
            if key_block < num_seen:
                assert query_block >= min(first_seeing, first_full)
            if query_block >= first_full:
                assert key_block < num_full


def test_a_triangle_takes_half_of_the_blocks():
    blocks = make_blocks(batched=False, target=18, source=18)
    masks = BlockMasks(blocks, causal=True)
    keys = [tuple(map(int, masks.keys_of(0, n))) for n in range(3)]
    assert keys == [(0, 1), (1, 2), (2, 3)]
    queries = [tuple(map(int, masks.queries_of(0, n))) for n in range(3)]
    assert queries == [(0, 1), (1, 2), (2, 3)]


def test_padding_at_the_end_takes_no_blocks():
    masks = BlockMasks(make_blocks(False), padding_mask=PADDING)
    ends = [int(masks.keys_of(HEADS * row, 0)[1]) for row in range(BATCH)]
    assert ends == [2, 3, 0]


def test_nothing_is_masked_where_all_blocks_are_whole():
    assert BlockMasks(make_blocks(False, source=18)).is_empty
    assert not BlockMasks(make_blocks(False, source=16)).is_empty

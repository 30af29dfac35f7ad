"""Local attention of new positions to those that a state holds."""

import dataclasses
import math

import tensorflow as tf
from keras import ops

from keras_xf.ops import attention
from keras_xf.ops import chunks
from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_windows import ChunkWindows


def attend_next(
    query,
    key,
    value,
    state,
    *,
    windows: ChunkWindows,
    padding_mask=None,
    dropout: float = 0.0,
    seed=None,
):
    """Causal chunked attention of the next positions of each row.

    Args:
        query: Float tensor `(batch, new_length, num_heads, key_dim)`.
        key: Float tensor alike.
        value: Float tensor `(batch, new_length, num_heads, value_dim)`.
        state: A dict of `key` and `value` `(batch, num_heads, max_length,
            dim)` and int32 `position` `(batch,)`.
        windows: What is seen from where, with nothing behind.
        padding_mask: Boolean `(batch, new_length)`, True where a position is
            real; real ones come first.
        dropout: Fraction of the attention weights that is dropped.
        seed: int32 `(2,)`, the seed of the dropout.

    Returns:
        A pair of a tensor like `value`, equal to what the whole sequence
        gives if that shows no chunk twice, as a short ring does, and the new
        state.
    """
    start = state["position"]
    new_length = ops.shape(query)[1]
    positions = start[:, None] + ops.arange(new_length)
    state = {
        "key": attention.write(state["key"], _heads_first(key), positions),
        "value": attention.write(
            state["value"], _heads_first(value), positions
        ),
        "position": start,
    }
    arguments = {"windows": windows, "dropout": dropout, "seed": seed}
    attend = _attend_from_one if query.shape[1] == 1 else _attend_from_several
    outputs = attend(query, state, positions, **arguments)
    num_new = new_length
    if padding_mask is not None:
        num_new = ops.sum(ops.cast(padding_mask, "int32"), axis=1)
    return outputs, {**state, "position": start + num_new}


def _attend_from_one(query, state, positions, *, windows, dropout, seed):
    """Reads the window of one position alone."""
    size = windows.chunk_length
    max_length = ops.shape(state["key"])[2]
    first = (positions // size - windows.chunks_before) * size
    place = first + ops.arange(windows.size * size, dtype="int32")
    seen = ops.logical_and(place >= 0, place <= positions)
    place = ops.clip(place, 0, max_length - 1)
    num_heads = query.shape[2]
    place = ops.repeat(place[:, None], num_heads, axis=1)
    key = tf.gather(state["key"], place, batch_dims=2)
    value = tf.gather(state["value"], place, batch_dims=2)
    weights = attention.attention_weights(
        # That divides the query by what it is divided by already.
        ops.swapaxes(query, 1, 2) * math.sqrt(query.shape[-1]),
        key,
        attention_mask=seen[:, None],
    )
    if dropout:
        kept = stateless_random.keep(seed, ops.shape(weights), dropout)
        weights = ops.where(kept, weights / (1 - dropout), 0)
    outputs = ops.matmul(ops.cast(weights, value.dtype), value)
    return ops.swapaxes(outputs, 1, 2)


def _attend_from_several(query, state, positions, *, windows, dropout, seed):
    """Puts queries where they belong in the whole room that a state has.

    The time is that of the room, not of the new positions alone; it is for
    prompts.
    """
    key, value = (_heads_first(state[name]) for name in ("key", "value"))
    empty = ops.zeros((*ops.shape(state["key"])[:3], query.shape[-1]))
    placed = attention.write(
        ops.cast(empty, query.dtype), _heads_first(query), positions
    )
    outputs, _ = chunks.attend(
        _heads_first(placed),
        key,
        value,
        # Of a whole room's chunks the last one is no neighbor of the first.
        windows=dataclasses.replace(windows, wrap=None),
        causal=True,
        dropout=dropout,
        seed=seed,
    )
    last = ops.shape(key)[1] - 1
    return tf.gather(outputs, ops.minimum(positions, last), batch_dims=1)


def _heads_first(x):
    return ops.transpose(x, (0, 2, 1, 3))

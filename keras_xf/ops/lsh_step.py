"""LSH attention of new positions to those that a state holds."""

import tensorflow as tf
from keras import ops

from keras_xf.ops import attention
from keras_xf.ops import chunks
from keras_xf.ops import lsh
from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.logits import MASKED_LOGIT
from keras_xf.ops.unit_vectors import unit_vectors

# The bucket of places that are not filled yet.
_EMPTY = 2**31 - 1


def initial_state(
    batch_size,
    max_length: int,
    *,
    num_heads: int,
    num_hashes: int,
    key_dim: int,
    value_dim: int,
    dtype,
) -> dict:
    """The state before the first position, with room for `max_length`.

    Returns:
        A dict of `query_key` `(batch, num_heads, max_length, key_dim)`,
        `value` `(batch, num_heads, max_length, value_dim)`, int32 `buckets`
        and `order` `(batch, num_heads, num_hashes, max_length)` and int32
        `position` `(batch,)`. The first places of `order` are the positions
        seen, sorted by bucket; what the others hold means nothing.
    """
    shape = (batch_size, num_heads)
    hashed = (*shape, num_hashes, max_length)
    return {
        "query_key": ops.zeros((*shape, max_length, key_dim), dtype),
        "value": ops.zeros((*shape, max_length, value_dim), dtype),
        "buckets": ops.zeros(hashed, "int32"),
        "order": ops.zeros(hashed, "int32"),
        "position": ops.zeros((batch_size,), "int32"),
    }


def attend_next(
    query_key,
    value,
    buckets,
    state,
    *,
    windows: ChunkWindows,
    padding_mask=None,
    dropout: float = 0.0,
    seed=None,
):
    """Causal LSH attention of the next positions of each row.

    Several positions given to an empty row are sorted together, as
    `lsh.attend` does. To a row that is not empty each is added alone, sorted
    among those before it: it sees what it would see as the last one of the
    sequence up to it.

    Args:
        query_key: Float tensor `(batch, new_length, num_heads, key_dim)`.
        value: Float tensor `(batch, new_length, num_heads, value_dim)`.
        buckets: int32 `(batch, num_heads, num_hashes, new_length)`.
        state: What `initial_state` or the last call returned.
        windows: Length of the chunks, and what is seen from where, with
            nothing behind.
        padding_mask: Boolean `(batch, new_length)`, True where a position is
            real; real ones come first.
        dropout: Fraction of the attention weights that is dropped.
        seed: int32 `(2,)`, the seed of the dropout.

    Returns:
        A pair of a tensor like `value` and the new state.
    """
    start = state["position"]
    new_length = query_key.shape[1] or ops.shape(query_key)[1]
    num_new = ops.full(ops.shape(start), new_length, dtype="int32")
    if padding_mask is not None:
        num_new = ops.sum(ops.cast(padding_mask, "int32"), axis=1)
    state = _write(state, query_key, value, buckets)
    arguments = {"windows": windows, "dropout": dropout, "seed": seed}
    if query_key.shape[1] == 1:
        outputs, order = _add(
            state,
            query_key[:, 0],
            state["order"],
            start,
            num_new > 0,
            **arguments,
        )
        outputs = outputs[:, None]
    else:
        outputs, order = _attend_to_several(
            query_key, value, buckets, state, num_new, padding_mask, arguments
        )
    return outputs, {**state, "order": order, "position": start + num_new}


def _attend_to_several(
    query_key, value, buckets, state, num_new, padding_mask, arguments
):
    start = state["position"]
    is_empty = start == 0

    def together():
        outputs = lsh.attend(
            query_key,
            value,
            buckets,
            padding_mask=padding_mask,
            causal=True,
            **arguments,
        )
        place = ops.arange(ops.shape(state["order"])[-1], dtype="int32")
        filled = (place < num_new[:, None])[:, None, None]
        return outputs, lsh.sort(ops.where(filled, state["buckets"], _EMPTY))

    def neither():
        return ops.zeros_like(value), state["order"]

    def one_by_one(outputs, order):
        def add(number, outputs, order):
            new, order = _add(
                state,
                ops.take(query_key, number, axis=1),
                order,
                start + number,
                number < num_new,
                **arguments,
            )
            is_new = ops.arange(ops.shape(value)[1]) == number
            outputs = ops.where(is_new[:, None, None], new[:, None], outputs)
            return number + 1, outputs, order

        _, added, new_order = ops.while_loop(
            lambda number, *_: number < ops.shape(value)[1],
            add,
            (0, ops.zeros_like(outputs), order),
        )
        select = is_empty[:, None, None, None]
        return (
            ops.where(select, outputs, added),
            ops.where(select, order, new_order),
        )

    outputs, order = ops.cond(ops.any(is_empty), together, neither)
    return ops.cond(
        ops.all(is_empty),
        lambda: (outputs, order),
        lambda: one_by_one(
            outputs,
            ops.where(is_empty[:, None, None, None], order, state["order"]),
        ),
    )


def _write(state, query_key, value, buckets):
    batch_size, new_length = ops.shape(query_key)[:2]
    positions = state["position"][:, None] + ops.arange(new_length)
    shape = ops.shape(state["buckets"])
    flat = attention.write(
        ops.reshape(state["buckets"], (batch_size, -1, shape[-1], 1)),
        ops.reshape(buckets, (batch_size, shape[1] * shape[2], new_length, 1)),
        positions,
    )
    return {
        **state,
        "query_key": attention.write(
            state["query_key"],
            ops.transpose(query_key, (0, 2, 1, 3)),
            positions,
        ),
        "value": attention.write(
            state["value"], ops.transpose(value, (0, 2, 1, 3)), positions
        ),
        "buckets": ops.reshape(flat, shape),
    }


def _add(state, query, order, position, is_real, *, windows, dropout, seed):
    """Attends from one position a row, which it puts in its place first.

    Returns:
        Outputs `(batch, num_heads, value_dim)` and the new order.
    """
    order, rank = _insert(state["buckets"], order, position, is_real)
    seen, exists = _window(order, rank, position, windows)
    # All rounds at once: they are one softmax.
    shape = ops.shape(seen)
    seen = ops.reshape(seen, (*shape[:2], -1))
    exists = ops.reshape(exists, (*shape[:2], -1))
    key = unit_vectors(tf.gather(state["query_key"], seen, batch_dims=2))
    value = tf.gather(state["value"], seen, batch_dims=2)
    logits = ops.matmul(query[:, :, None], ops.swapaxes(key, -1, -2))[:, :, 0]
    if logits.dtype != "float64":
        logits = ops.cast(logits, "float32")
    logits = ops.where(exists, logits, MASKED_LOGIT)
    is_self = ops.logical_and(exists, seen == position[:, None, None])
    logits = ops.where(is_self, chunks.SELF_LOGIT, logits)
    weights = ops.softmax(logits)
    if dropout:
        kept = stateless_random.keep(
            stateless_random.fold_in(seed, position[0]),
            ops.shape(weights),
            dropout,
        )
        weights = ops.where(kept, weights / (1 - dropout), 0)
    weights = ops.cast(weights, value.dtype)
    return ops.matmul(weights[:, :, None], value)[:, :, 0], order


def _insert(buckets, order, position, is_real):
    """Puts a position behind those of its bucket; its place there, too."""
    place = ops.arange(ops.shape(order)[-1], dtype="int32")
    position = position[:, None, None, None]
    index = ops.broadcast_to(
        ops.minimum(position, ops.shape(order)[-1] - 1),
        (*ops.shape(buckets)[:3], 1),
    )
    own = tf.gather(buckets, index, batch_dims=3)
    before = ops.logical_and(place < position, buckets <= own)
    rank = ops.sum(ops.cast(before, "int32"), axis=-1, keepdims=True)
    inserted = ops.where(
        place < rank,
        order,
        ops.where(place == rank, position, ops.roll(order, 1, axis=-1)),
    )
    return ops.where(is_real[:, None, None, None], inserted, order), rank


def _window(order, rank, position, windows):
    """Positions `(batch, num_heads, num_hashes, keys)` that one sees."""
    size, num_hashes = windows.chunk_length, order.shape[2]
    count = (position + 1)[:, None, None, None]
    num_chunks = -(-count // size)
    slot = ops.arange(windows.size, dtype="int32")
    chunk = rank // size + windows.offsets(num_hashes * num_chunks)
    number = ops.arange(num_hashes, dtype="int32")[:, None]
    if windows.wrap == "rounds":
        chunk = ops.mod(chunk + number * num_chunks, num_hashes * num_chunks)
        number, chunk = chunk // num_chunks, ops.mod(chunk, num_chunks)
        exists = ops.ones_like(chunk, dtype="bool")
    else:
        chunk = ops.mod(chunk, num_chunks)
        exists = ops.broadcast_to(slot < num_chunks, ops.shape(chunk))
        number = ops.broadcast_to(number, ops.shape(chunk))
    place = chunk[..., None] * size + ops.arange(size, dtype="int32")
    exists = ops.logical_and(exists[..., None], place < count[..., None])
    last = ops.shape(order)[-1] - 1
    index = number[..., None] * (last + 1) + ops.minimum(place, last)
    flat = ops.reshape(order, (*ops.shape(order)[:2], -1))
    return tf.gather(flat, index, batch_dims=2), exists

"""Dense attention (Vaswani et al., 2017), the one that all layers share.

Tensors are laid out heads first, `(batch, num_heads, length, dim)`: it is what
the batched matrix product wants, so a decoder's cache is read where it lies.
"""

import functools
import math

from keras import ops

from keras_xf.checks import check
from keras_xf.ops import blockwise_attention
from keras_xf.ops import stateless_random
from keras_xf.ops.logits import MASKED_LOGIT
from keras_xf.ops.shared_function import shared_function

# Pairs of a query and a key from which on blocks are taken. On a CPU they are
# as fast as the plain form from 512 by 512 on; from here on they are faster,
# up to twice, and it is worth a second of compilation.
_BLOCKWISE_PAIRS = 1024 * 1024
# Beside fewer queries, or keys, all logits are linear in the length.
_BLOCKWISE_LENGTH = 512


def attend(
    query,
    key,
    value,
    *,
    padding_mask=None,
    attention_mask=None,
    causal: bool = False,
    query_positions=None,
    logit_bias=None,
    dropout: float = 0.0,
    seed=None,
    blockwise: bool | None = None,
):
    """Scaled dot-product attention, equation (1) of the paper.

    A query that may attend to nothing gives zeros.

    There are two forms. The plain one makes all logits at once. The other, for
    long sequences, goes block by block and makes the logits again for the
    gradients: its memory is linear in the lengths (but for an
    `attention_mask`, which is not), and it has no gradients of gradients; to
    ask for them is a LookupError.

    Args:
        query: Float tensor `(batch, num_heads, target_length, key_dim)`.
        key: Float tensor `(batch, num_heads, source_length, key_dim)`.
        value: Float tensor `(batch, num_heads, source_length, value_dim)`.
        padding_mask: Boolean `(batch, source_length)`, True where the key is
            real.
        attention_mask: Boolean `(batch, target_length, source_length)`, True
            where the query may see the key.
        causal: Whether a query sees only keys at its own position and before.
        query_positions: Integer positions of the queries among the keys,
            `(target_length,)` or `(batch, target_length)`; used only if
            `causal`. By default both start at 0.
        logit_bias: Float `(batch, num_heads, target_length, source_length)`,
            added to the logits once they are scaled. There is only the plain
            form with it, which makes all logits, as it does itself.
        dropout: Fraction of the attention weights that is dropped.
        seed: Integer or `keras.random.SeedGenerator` of the dropout. The forms
            drop different weights.
        blockwise: Whether to go block by block. By default where both lengths
            are at least 512, and their product at least that of 1024 and 1024.
            Where a length is not known yet, a graph holds both forms and
            chooses when it runs, unless the other length is below 512, as that
            of a decoder's queries; it has no gradients of gradients then.

    Returns:
        Float tensor `(batch, num_heads, target_length, value_dim)`, of the
        dtype of `value`.

    Raises:
        ValueError: If there is dropout and no seed, if the tensors differ in
            batch or heads when they are cut into blocks, or if blocks are
            asked for beside a `logit_bias`.

    Reference:
        [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
        [Dao et al., 2022](https://arxiv.org/abs/2205.14135)
    """
    check(
        not dropout or seed is not None,
        "`seed` must be given if there is `dropout`.",
        dropout=dropout,
        seed=seed,
    )
    arguments = {
        "padding_mask": padding_mask,
        "attention_mask": attention_mask,
        "causal": causal,
        "query_positions": query_positions,
        "dropout": dropout,
        # Here, since a generator cannot move on inside of a condition.
        "seed": _draw(seed) if dropout else None,
    }
    if logit_bias is not None:
        check(
            not blockwise,
            "`blockwise` must not be asked for beside a `logit_bias`.",
            blockwise=blockwise,
        )
        return _attend_plainly(
            query, key, value, logit_bias=logit_bias, **arguments
        )
    if blockwise is None:
        blockwise = _is_long(ops.shape(query)[2], ops.shape(key)[2])
    if not isinstance(blockwise, bool):
        return shared_function(_choose)(
            blockwise, query, key, value, **arguments
        )
    return _forms()[blockwise](query, key, value, **arguments)


def attention_weights(
    query,
    key,
    *,
    padding_mask=None,
    attention_mask=None,
    causal: bool = False,
    query_positions=None,
):
    """The softmax of `attend`; its arguments are described there.

    Returns:
        Tensor `(batch, num_heads, target_length, source_length)`, float32 or
        wider: half precision neither sums nor exponentiates well. Rows sum to
        one, or are zero where a query may attend to nothing.
    """
    weights, seen = _softmax(
        query,
        key,
        padding_mask=padding_mask,
        attention_mask=attention_mask,
        causal=causal,
        query_positions=query_positions,
    )
    return weights if seen is None else weights * ops.cast(seen, weights.dtype)


def combine_masks(
    *,
    target_length,
    source_length,
    padding_mask=None,
    attention_mask=None,
    causal: bool = False,
    query_positions=None,
):
    """Joins masks into one that broadcasts to the attention logits.

    Args:
        target_length: Number of queries.
        source_length: Number of keys.
        padding_mask: As in `attend`.
        attention_mask: As in `attend`.
        causal: As in `attend`.
        query_positions: As in `attend`.

    Returns:
        Boolean tensor `(batch or 1, 1, target_length or 1, source_length)`, or
        None if nothing is masked.
    """
    mask = None
    if causal:
        if query_positions is None:
            query_positions = ops.arange(target_length)
        last = ops.cast(query_positions, "int32")[..., None]
        earlier = ops.arange(source_length) <= last
        if len(earlier.shape) == 2:
            earlier = earlier[None]
        mask = earlier[:, None]
    if padding_mask is not None:
        mask = _both(mask, ops.cast(padding_mask, "bool")[:, None, None, :])
    if attention_mask is not None:
        mask = _both(mask, ops.cast(attention_mask, "bool")[:, None])
    return mask


def append(state, key, value, new_positions, padding_mask=None) -> dict:
    """Puts the keys and values of new positions behind those of a state.

    What lies past a row's real positions is after every query, and overwritten
    before a query gets there.

    Args:
        state: A dict of `key`, `value` and `position`.
        key: Float tensor `(batch, num_heads, new_length, key_dim)`.
        value: Float tensor `(batch, num_heads, new_length, value_dim)`.
        new_positions: Integer `(batch, new_length)`, where each goes.
        padding_mask: Boolean `(batch, new_length)`, True where a position is
            real; the real ones of a row come first. All by default.

    Returns:
        A dict like `state`.
    """
    number = ops.shape(key)[2]
    if padding_mask is not None:
        number = ops.sum(ops.cast(padding_mask, "int32"), axis=1)
    return {
        "key": write(state["key"], key, new_positions),
        "value": write(state["value"], value, new_positions),
        "position": state["position"] + number,
    }


def write(cache, new, new_positions):
    """Writes the keys or values of new positions into a cache.

    Args:
        cache: Float tensor `(batch, num_heads, max_length, dim)`.
        new: Float tensor `(batch, num_heads, new_length, dim)`.
        new_positions: Integer `(batch, new_length)`, where each goes. Of
            several new ones, those past the end of the cache are dropped; a
            single one past it is an error on CPU and dropped elsewhere.

    Returns:
        Tensor like `cache`.
    """
    new = ops.cast(new, cache.dtype)
    if new.shape[2] == 1:
        return _write_one(cache, new, new_positions[:, 0])
    # The new position, if any, that each place of the cache takes.
    max_length = ops.shape(cache)[2]
    batch_size, new_length = ops.shape(new)[0], ops.shape(new)[2]
    source = ops.arange(max_length)[None] - new_positions[:, :1]
    taken = ops.logical_and(source >= 0, source < new_length)
    source = ops.clip(source, 0, new_length - 1)
    # One gather along a joined axis: `take_along_axis` is far slower.
    rows = ops.reshape(
        ops.transpose(new, (0, 2, 1, 3)), (-1, new.shape[1], new.shape[3])
    )
    source += new_length * ops.arange(batch_size)[:, None]
    moved = ops.transpose(ops.take(rows, source, axis=0), (0, 2, 1, 3))
    return ops.where(taken[:, None, :, None], moved, cache)


def merge_heads(x):
    """`(batch, num_heads, length, dim)` to `(batch * length, num_heads * dim)`.

    Args:
        x: Tensor whose axes of heads and of the dim are known.

    Returns:
        A matrix, ready for the product with a kernel.
    """
    return ops.reshape(
        ops.transpose(x, (0, 2, 1, 3)), (-1, x.shape[1] * x.shape[3])
    )


def _is_long(*lengths):
    """Whether blocks are taken, a boolean tensor where a length is not known.

    Args:
        *lengths: Numbers, or scalar tensors.
    """
    known = [length for length in lengths if isinstance(length, int)]
    if known and min(known) < _BLOCKWISE_LENGTH:
        return False
    if len(known) == len(lengths):
        return math.prod(lengths) >= _BLOCKWISE_PAIRS
    target_length, source_length = lengths
    # In floats, since a product of large integers is beyond an int32.
    return ops.logical_and(
        ops.minimum(target_length, source_length) >= _BLOCKWISE_LENGTH,
        ops.cast(target_length, "float32") * ops.cast(source_length, "float32")
        >= _BLOCKWISE_PAIRS,
    )


def _forms():
    return [_attend_plainly, blockwise_attention.attend]


def _choose(blockwise, query, key, value, **arguments):
    # Unlike `cond`, XLA compiles the one branch of a `switch` alone that a
    # shape has chosen. In the other, no shapes would fit.
    return ops.switch(
        ops.cast(blockwise, "int32"),
        [functools.partial(form, **arguments) for form in _forms()],
        query,
        key,
        value,
    )


def _draw(seed):
    if isinstance(seed, int):
        seed %= 2**62
        return ops.convert_to_tensor([seed % 2**31, seed // 2**31], "int32")
    return stateless_random.draw(seed)


def _attend_plainly(query, key, value, *, dropout, seed, **masks):
    weights, seen = _softmax(query, key, **masks)
    if dropout:
        kept = stateless_random.keep(seed, ops.shape(weights), dropout)
        weights = ops.where(kept, weights * (1.0 / (1.0 - dropout)), 0.0)
    outputs = ops.matmul(ops.cast(weights, value.dtype), value)
    # Zeroing the outputs touches fewer numbers than zeroing the weights.
    return outputs if seen is None else outputs * ops.cast(seen, value.dtype)


def _softmax(query, key, *, logit_bias=None, **masks):
    """Weights, uniform where nothing is seen, and where something is."""
    # Scaling the query touches fewer numbers than scaling the logits.
    query = query * (1.0 / math.sqrt(query.shape[-1]))
    logits = ops.matmul(query, ops.swapaxes(key, -1, -2))
    if logits.dtype != "float64":
        logits = ops.cast(logits, "float32")
    if logit_bias is not None:
        logits = logits + ops.cast(logit_bias, logits.dtype)
    mask = combine_masks(
        target_length=ops.shape(query)[2],
        source_length=ops.shape(key)[2],
        **masks,
    )
    if mask is not None:
        logits = ops.where(mask, logits, MASKED_LOGIT)
    # Keras warns of a softmax over a single number.
    single = logits.shape[-1] == 1
    weights = ops.ones_like(logits) if single else ops.softmax(logits)
    if masks["padding_mask"] is None and masks["attention_mask"] is None:
        return weights, None  # A causal query sees itself at least.
    return weights, ops.any(mask, axis=-1, keepdims=True)


def _write_one(cache, new, position):
    # The common step of a decoder. A scatter is three times as fast as a
    # comparison of all positions, which writes the whole cache anew.
    batch_size, num_heads = ops.shape(cache)[:2]
    row = ops.repeat(ops.arange(batch_size), num_heads)
    head = ops.tile(ops.arange(num_heads), (batch_size,))
    place = ops.repeat(ops.cast(position, "int32"), num_heads)
    rows = ops.reshape(new, (-1, new.shape[-1]))
    index = ops.stack([row, head, place], axis=-1)
    return ops.scatter_update(cache, index, rows)


def _both(mask, other):
    return other if mask is None else ops.logical_and(mask, other)

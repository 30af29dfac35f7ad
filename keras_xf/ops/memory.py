"""Buffers of fixed size that hold what came last (Dai et al., 2019).

What a buffer remembers stands at its end; what is before that is not real.
"""

import math

from keras import ops


def push(memory, new, length=None):
    """Appends new entries to a buffer, and drops as many of the oldest.

    Args:
        memory: Tensor `(batch, ..., memory_length, dim)`.
        new: Tensor `(batch, ..., new_length, dim)`, longer or shorter.
        length: Integer `(batch,)`, how many of a row's new entries are real:
            those behind are left out. All by default, and all where it is
            more than there are.

    Returns:
        Tensor like `memory`.
    """
    memory_length, dim = memory.shape[-2:]
    joined = ops.concatenate([memory, ops.cast(new, memory.dtype)], axis=-2)
    if length is None:
        return joined[..., ops.shape(joined)[-2] - memory_length :, :]
    length = _clip(length, ops.shape(new)[-2])
    # One gather of rows along a joined axis: `take_along_axis` is far slower.
    batch_size, *middle, width, _ = ops.shape(joined)
    number = math.prod(middle)
    start = ops.arange(batch_size * number) * width
    start += ops.repeat(length, number)
    source = start[:, None] + ops.arange(memory_length)
    rows = ops.take(ops.reshape(joined, (-1, dim)), source, axis=0)
    return ops.reshape(rows, (batch_size, *middle, memory_length, dim))


def push_length(valid, memory_length: int, new_length, length=None):
    """How many entries of a buffer are real after `push`.

    Args:
        valid: Int32 `(batch,)`, how many were before.
        memory_length: Size of the buffer.
        new_length: Number of new entries.
        length: As there.

    Returns:
        Int32 tensor `(batch,)`.
    """
    added = new_length if length is None else _clip(length, new_length)
    return ops.minimum(ops.maximum(valid, 0) + added, memory_length)


def source_mask(valid, memory_length: int, new_mask, new_length):
    """Marks what is real of a buffer and of what is read after it.

    Args:
        valid: Integer `(batch,)`, how many entries of the buffer are real, or
            None if all are.
        memory_length: Size of the buffer.
        new_mask: Boolean `(batch, new_length)`, or None if all are real.
        new_length: Number of new entries.

    Returns:
        Boolean tensor `(batch, memory_length + new_length)`, or None if all
        is real.
    """
    if valid is None and new_mask is None:
        return None
    batch_size = ops.shape(new_mask if valid is None else valid)[0]
    old_mask = ops.ones((batch_size, memory_length), "bool")
    if valid is not None:
        first = memory_length - ops.cast(valid, "int32")
        old_mask = ops.arange(memory_length) >= first[:, None]
    if new_mask is None:
        new_mask = ops.ones((batch_size, new_length), "bool")
    return ops.concatenate([old_mask, new_mask], axis=1)


def _clip(length, new_length):
    # Beyond a row's entries, another row's would be read.
    return ops.clip(ops.cast(length, "int32"), 0, new_length)

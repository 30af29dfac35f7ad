"""Assertions on what clients send, with messages that they can act on.

They run with the graph and raise `tf.errors.InvalidArgumentError`, which TF
Serving answers as a bad request (status 400) together with the message.
"""

import tensorflow as tf

from keras_xf.text.special_ids import PAD


def same_rows(**tensors):
    """Asserts that all tensors have as many rows as the first.

    Args:
        **tensors: Tensors of rank 1 or more, by the names clients know.

    Returns:
        A context. What is computed in it is computed after the assertions:
        else it could fail before them, with a message of its own.
    """
    (first, like), *others = tensors.items()
    num_rows = tf.shape(like)[0]
    assertions = []
    for name, tensor in others:
        received = tf.shape(tensor)[0]
        assertions.append(
            tf.debugging.Assert(
                tf.equal(received, num_rows),
                [
                    f"`{name}` must have as many rows as `{first}`. Received:",
                    received,
                    num_rows,
                ],
            )
        )
    return _after(*assertions)


def assert_length(name, length, max_length):
    """Asserts that sequences are no longer than the model can take.

    Args:
        name: What the sequences are called in the request.
        length: int32 tensor `(batch,)`.
        max_length: Largest length, None if there is no limit.
    """
    if max_length is None:
        return
    too_long = tf.boolean_mask(length, length > max_length)
    tf.debugging.Assert(
        tf.equal(tf.size(too_long), 0),
        [
            f"`{name}` must have a length of at most {max_length} tokens. "
            "Received:",
            too_long,
        ],
    )


def real_tokens(
    token_ids, length, vocabulary_size, names=("token_ids", "length")
):
    """Asserts that sequences are well formed, and clears their padding.

    A server that joins requests to one batch fills shorter rows with their
    tensor's first element, so what stands behind a row's length may be any id,
    and as many of them as the longest request had tokens.

    Args:
        token_ids: int32 tensor `(batch, width)`.
        length: int32 tensor `(batch,)`.
        vocabulary_size: Ids lie in `[0, vocabulary_size)`.
        names: What the two are called in the request.

    Returns:
        int32 tensor `(batch, max(length))`, PAD behind the real tokens.
    """
    width = tf.shape(token_ids)[1]
    is_wrong = (length < 0) | (length > width)
    in_width = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(is_wrong)),
        [
            f"`{names[1]}` must lie between 0 and the width of `{names[0]}`. "
            "Received:",
            tf.boolean_mask(length, is_wrong),
            "width:",
            width,
        ],
    )
    is_real = tf.sequence_mask(length, maxlen=width)
    is_wrong = is_real & ((token_ids < 0) | (token_ids >= vocabulary_size))
    in_vocabulary = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(is_wrong)),
        [
            f"`{names[0]}` must lie in [0, {vocabulary_size}). Received:",
            tf.boolean_mask(token_ids, is_wrong),
        ],
    )
    # Looked up before it is refused, a wrong id would fail with a message of
    # its own, or on a GPU with none.
    with _after(in_width, in_vocabulary):
        token_ids = tf.where(is_real, token_ids, PAD)
    # The zero stands for an empty batch, which has no maximum.
    longest = tf.reduce_max(tf.concat([length, [0]], axis=0))
    return token_ids[:, :longest]


def real_memory(memory, memory_length):
    """Asserts that memories are well formed, and clears what is not real.

    Args:
        memory: Float tensor `(batch, num_layers, size, dim)`.
        memory_length: int32 tensor `(batch,)`, how many of the last positions
            are real.

    Returns:
        Both; the memory is 0 where it is not real. What stands there may be
        anything, also no number.
    """
    size = memory.shape[2]
    is_wrong = (memory_length < 0) | (memory_length > size)
    in_range = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(is_wrong)),
        [
            f"`memory_length` must lie between 0 and {size}. Received:",
            tf.boolean_mask(memory_length, is_wrong),
        ],
    )
    with _after(in_range):
        first = size - memory_length
        is_real = tf.range(size) >= tf.expand_dims(first, axis=-1)
        is_real = is_real[:, tf.newaxis, :, tf.newaxis]
        return tf.where(is_real, memory, 0), tf.identity(memory_length)


def ids_below(name, ids, number):
    """Asserts that ids are those of something that there is.

    Args:
        name: What they are called in the request.
        ids: int32 tensor of any shape.
        number: Ids lie in `[0, number)`.

    Returns:
        The ids, once they are known to be right.
    """
    is_wrong = (ids < 0) | (ids >= number)
    in_range = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(is_wrong)),
        [
            f"`{name}` must lie in [0, {number}). Received:",
            tf.boolean_mask(ids, is_wrong),
        ],
    )
    # Looked up before it is refused, a wrong id would fail with a message of
    # its own, or on a GPU with none.
    with _after(in_range):
        return tf.identity(ids)


def in_unit_interval(name, tensor):
    """Asserts that numbers are neither too small, nor too large, nor none.

    Args:
        name: What they are called in the request.
        tensor: Float tensor of any shape.

    Returns:
        The tensor, once it is known to lie in `[0, 1]`.
    """
    is_right = (tensor >= 0.0) & (tensor <= 1.0)
    in_range = tf.debugging.Assert(
        tf.reduce_all(is_right),
        [
            f"`{name}` must lie in [0, 1]. Received:",
            tf.boolean_mask(tensor, tf.logical_not(is_right)),
        ],
    )
    with _after(in_range):
        return tf.identity(tensor)


def _after(*assertions):
    # Where they run at once, assertions are None.
    return tf.control_dependencies([op for op in assertions if op is not None])

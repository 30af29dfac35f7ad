"""Calls of a step function, checked against its contract."""

import tensorflow as tf

from keras_xf.checks import check


def run_step(step, state, token_ids, length=None):
    """Calls `step` and checks what it returns.

    Args:
        step: Step function; the package's docstring states the contract.
        state: Nested structure of tensors.
        token_ids: int32 tensor `(batch, n)`.
        length: int32 tensor `(batch,)`, or None if all tokens are real.

    Returns:
        The logits, float32 `(batch, n, vocabulary)`, and the next state, whose
        static shapes are those of `state`.

    Raises:
        ValueError: If logits or state break the contract.
    """
    logits, next_state = step(token_ids, state, length)
    logits = tf.cast(logits, tf.float32)
    check(
        logits.shape.rank == 3 and logits.shape[-1] is not None,
        "`step` must return logits of shape (batch, length, vocabulary), the "
        "vocabulary's size known.",
        shape=str(logits.shape),
    )
    return logits, keep_state_alike(state, next_state)


def keep_state_alike(state, next_state):
    """Checks the state that a step returns, and makes a loop take it.

    Args:
        state: What the step was given.
        next_state: What it returns.

    Returns:
        The next state, whose static shapes are those of `state`.

    Raises:
        ValueError: If structure, shapes or dtypes differ.
    """
    next_state = tf.nest.map_structure(tf.convert_to_tensor, next_state)
    check(
        _is_alike(state, next_state),
        "`step` must return a state of the structure, shapes and dtypes that "
        "it was given.",
        given=_signature(state),
        returned=_signature(next_state),
    )
    # A loop refuses a state that becomes less static on its way round.
    for old, new in zip(
        tf.nest.flatten(state), tf.nest.flatten(next_state), strict=True
    ):
        new.set_shape(old.shape)
    return next_state


def prefill(step, state, token_ids, length):
    """Feeds whole prompts in one step.

    Args:
        step: Step function.
        state: Nested structure of tensors that has seen nothing.
        token_ids: int32 tensor `(batch, n)` of padded prompts.
        length: int32 tensor `(batch,)`, from 1 to `n`.

    Returns:
        The logits of the token after each prompt, float32
        `(batch, vocabulary)`, and the next state.
    """
    logits, state = run_step(step, state, token_ids, length)
    last = tf.expand_dims(length - 1, axis=-1)
    return tf.squeeze(tf.gather(logits, last, batch_dims=1), axis=1), state


def _signature(state):
    return tf.nest.map_structure(
        lambda tensor: f"{tensor.dtype.name}{tensor.shape}", state
    )


def _is_alike(state, next_state):
    try:
        tf.nest.assert_same_structure(state, next_state)
    except (TypeError, ValueError):
        return False
    return all(
        old.dtype == new.dtype and old.shape.is_compatible_with(new.shape)
        for old, new in zip(
            tf.nest.flatten(state), tf.nest.flatten(next_state), strict=True
        )
    )

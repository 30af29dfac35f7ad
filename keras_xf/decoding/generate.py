"""The loop that lets a step function write."""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.decoding.choosers import greedy
from keras_xf.decoding.noise import uniform_noise
from keras_xf.decoding.steps import prefill
from keras_xf.decoding.steps import run_step
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import PAD
from keras_xf.text.unwritten_ids import UNWRITTEN_IDS


def generate(
    step: Callable,
    state,
    token_ids,
    length,
    *,
    max_new_tokens: int,
    choose: Callable = greedy,
    seed=None,
    suppressed_ids: Sequence[int] = UNWRITTEN_IDS,
    eos_id: int = EOS,
) -> dict:
    """Continues prompts, token by token, up to an EOS each.

    The prompts are fed in one step, then each new token but the last in one
    more. A row that has reached its EOS stays as it is; when all have, the
    loop ends. A row's result does not depend on the rows beside it.

    Args:
        step: Step function; the package's docstring states the contract.
        state: Its initial state for the batch.
        token_ids: Integer tensor `(batch, n)`, prompts that begin with BOS
            (see `prepend_bos`) or with any token. What stands behind a row's
            `length` is ignored.
        length: Integer tensor `(batch,)`, from 1 to `n`. The range is not
            asserted.
        max_new_tokens: Most tokens to write, EOS counted.
        choose: Chooser; the package's docstring states the contract.
        seed: int32 tensor `(batch, 2)` that the chooser's noise is made of,
            see `uniform_noise`. None for choosers that need no noise.
        suppressed_ids: Ids never to be written. The default is all special
            ids but EOS. With EOS among them all rows run to the end.
        eos_id: The id that ends a row.

    Returns:
        A dict of

        - `token_ids`, int32 `(batch, 1, max_new_tokens)`: the new tokens,
          without EOS, PAD behind them;
        - `length`, int32 `(batch, 1)`: how many they are. It is
          `max_new_tokens` where no EOS came;
        - `score`, float32 `(batch, 1)`: the sum of their log-probabilities,
          and of that of EOS where it came. These are the model's own, over all
          tokens: before suppression, temperature and filters.

        The second axis counts hypotheses.

    Raises:
        ValueError: If an argument, or what `step` returns, has a wrong shape
            or an id is out of the vocabulary.
    """
    token_ids = tf.cast(token_ids, tf.int32)
    length = tf.cast(length, tf.int32)
    state = tf.nest.map_structure(tf.convert_to_tensor, state)
    check(
        max_new_tokens > 0,
        "`max_new_tokens` must be positive.",
        max_new_tokens=max_new_tokens,
    )
    noise = None if seed is None else uniform_noise(seed, max_new_tokens)
    check_prompts(token_ids, length)
    check(
        noise is None
        or noise.shape[:1].is_compatible_with(token_ids.shape[:1]),
        "`seed` must have a row for each prompt.",
        rows=None if noise is None else noise.shape[0],
        batch=token_ids.shape[0],
    )

    logits, state = prefill(step, state, token_ids, length)
    is_suppressed = suppression(logits.shape[-1], suppressed_ids, eos_id)

    def choose_and_write(index, logits, written):
        row_noise = None if noise is None else tf.gather(noise, index, axis=1)
        chosen, log_probs = _choose(choose, logits, row_noise, is_suppressed)
        return _write(index, chosen, log_probs, eos_id, written)

    def is_unfinished(index, _, written, __):
        is_any_open = tf.reduce_any(_is_open(index, written))
        return (index < max_new_tokens) & is_any_open

    def advance(index, last, written, state):
        # Rows that have ended take PAD: one step serves all.
        logits, state = run_step(step, state, tf.expand_dims(last, axis=-1))
        logits = tf.squeeze(logits, axis=1)
        last, written = choose_and_write(index, logits, written)
        return index + 1, last, written, state

    written = _blank(tf.shape(token_ids)[0], max_new_tokens)
    last, written = choose_and_write(0, logits, written)
    if max_new_tokens > 1:
        _, _, written, _ = tf.while_loop(
            is_unfinished, advance, (tf.constant(1), last, written, state)
        )
    return {
        name: tf.expand_dims(tensor, axis=1) for name, tensor in written.items()
    }


def _choose(choose, logits, noise, is_suppressed):
    """Picks allowed tokens; returns them and their log-probabilities."""
    # Finite, but so low that no temperature brings it back.
    chosen = choose(tf.where(is_suppressed, logits.dtype.min, logits), noise)
    log_probs = tf.gather(
        tf.nn.log_softmax(logits),
        tf.expand_dims(chosen, axis=-1),
        batch_dims=1,
    )
    return chosen, tf.squeeze(log_probs, axis=-1)


def _blank(batch_size, max_new_tokens):
    return {
        "token_ids": tf.fill([batch_size, max_new_tokens], PAD),
        "length": tf.zeros([batch_size], tf.int32),
        "score": tf.zeros([batch_size]),
    }


def _is_open(index, written):
    # A row without EOS has written a token to every column before `index`.
    return tf.equal(written["length"], index)


def _write(index, chosen, log_probs, eos_id, written):
    """Fills column `index`; returns it and all that is written."""
    is_open = _is_open(index, written)
    is_new = is_open & tf.not_equal(chosen, eos_id)
    column = tf.where(is_new, chosen, PAD)
    token_ids = written["token_ids"]
    is_column = tf.equal(tf.range(token_ids.shape[1]), index)
    return column, {
        "token_ids": tf.where(
            is_column, tf.expand_dims(column, axis=-1), token_ids
        ),
        "length": written["length"] + tf.cast(is_new, tf.int32),
        "score": written["score"] + tf.where(is_open, log_probs, 0.0),
    }


def check_prompts(token_ids, length):
    """Checks the shapes of prompts.

    Args:
        token_ids: Integer tensor `(batch, n)`.
        length: Integer tensor `(batch,)`.

    Raises:
        ValueError: If they are not of these shapes, or `n` is 0.
    """
    check(
        token_ids.shape.rank == 2 and token_ids.shape[1] != 0,
        "`token_ids` must have the shape (batch, length), the length at "
        "least 1: `prepend_bos` makes it so.",
        shape=str(token_ids.shape),
    )
    batch = token_ids.shape[:1]
    check(
        length.shape.is_compatible_with(batch),
        "`length` must have the shape (batch,).",
        shape=str(length.shape),
        batch=batch[0],
    )


def suppression(vocabulary_size, suppressed_ids, eos_id):
    """Marks the ids that are not to be written.

    Args:
        vocabulary_size: Number of ids.
        suppressed_ids: Ids never to be written.
        eos_id: The id that ends a row.

    Returns:
        Boolean array `(vocabulary,)`, True at the suppressed ids.

    Raises:
        ValueError: If ids are out of the vocabulary, or none is left.
    """
    vocabulary = range(vocabulary_size)
    check(
        all(token_id in vocabulary for token_id in suppressed_ids),
        "`suppressed_ids` must be ids of the vocabulary.",
        suppressed_ids=suppressed_ids,
        vocabulary_size=vocabulary_size,
    )
    check(
        eos_id in vocabulary,
        "`eos_id` must be an id of the vocabulary.",
        eos_id=eos_id,
        vocabulary_size=vocabulary_size,
    )
    is_suppressed = np.isin(vocabulary, suppressed_ids)
    check(
        not is_suppressed.all(),
        "`suppressed_ids` must leave an id to write.",
        suppressed_ids=suppressed_ids,
        vocabulary_size=vocabulary_size,
    )
    return is_suppressed

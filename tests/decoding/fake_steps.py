"""Small step functions with a state, and what they compute, in NumPy.

Each class is a step function when called. Its `logits_after` is the oracle: the
logits that follow a whole history, from the list of its ids and nothing else.
"""

import numpy as np
import tensorflow as tf

VOCABULARY_SIZE = 9


def _real(token_ids, length):
    """Ones at the real tokens, int32 like `token_ids`."""
    if length is None:
        return tf.ones_like(token_ids)
    return tf.sequence_mask(length, tf.shape(token_ids)[1], tf.int32)


class PairStep(tf.Module):
    """Logits from a table, by the last two tokens; 0 before the first.

    Attributes:
        num_calls: How often it ran.
    """

    def __init__(self, table=None, seed=0, dtype="float32"):
        super().__init__()
        if table is None:
            table = np.random.default_rng(seed).normal(
                scale=2.0, size=(VOCABULARY_SIZE,) * 3
            )
        table = tf.cast(table, dtype)
        self.table = table
        self.rounded_table = tf.cast(table, "float64").numpy()
        self.num_calls = tf.Variable(0)

    def initial_state(self, batch_size):
        return {"last": tf.zeros([batch_size], tf.int32)}

    def __call__(self, token_ids, state, length=None):
        self.num_calls.assign_add(1)
        before = tf.concat([state["last"][:, None], token_ids], axis=1)
        logits = tf.gather_nd(
            self.table, tf.stack([before[:, :-1], token_ids], axis=-1)
        )
        num_real = tf.reduce_sum(_real(token_ids, length), axis=1)
        last = tf.gather(before, num_real, batch_dims=1)
        return logits, {"last": last}

    def logits_after(self, history):
        before = history[-2] if len(history) > 1 else 0
        return self.rounded_table[before, history[-1]]


class HistoryStep(tf.Module):
    """Logits from a table, by a hash of all tokens and their positions."""

    num_codes = 101

    def __init__(self, vocabulary_size=VOCABULARY_SIZE, seed=0):
        super().__init__()
        self.rounded_table = np.random.default_rng(seed).normal(
            scale=2.0, size=(self.num_codes, vocabulary_size)
        )
        self.table = tf.constant(self.rounded_table, tf.float32)

    def initial_state(self, batch_size):
        zeros = tf.zeros([batch_size], tf.int32)
        return {"code": zeros, "clock": {"position": zeros}}

    def __call__(self, token_ids, state, length=None):
        real = _real(token_ids, length)
        position = state["clock"]["position"][:, None]
        positions = position + tf.range(tf.shape(token_ids)[1])
        terms = real * (token_ids + 1) * (positions + 3) * (positions + 3)
        codes = state["code"][:, None] + tf.cumsum(terms, axis=1)
        logits = tf.gather(self.table, codes % self.num_codes)
        return logits, {
            "code": state["code"] + tf.reduce_sum(terms, axis=1),
            "clock": {"position": position[:, 0] + tf.reduce_sum(real, axis=1)},
        }

    def logits_after(self, history):
        code = sum(
            (token + 1) * (i + 3) ** 2 for i, token in enumerate(history)
        )
        return self.rounded_table[code % self.num_codes]


def chain(successors):
    """A `PairStep` in which each token all but surely has one successor.

    Args:
        successors: Dict from a token to the next. What is not named follows
            itself.
    """
    table = np.zeros((VOCABULARY_SIZE,) * 3)
    for token in range(VOCABULARY_SIZE):
        table[:, token, successors.get(token, token)] = 5.0
    return PairStep(table)

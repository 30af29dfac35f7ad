"""How well a model with a memory predicts a text that it reads in order."""

import keras
import numpy as np
import tensorflow as tf

from apps.language_model.corpus import Corpus
from apps.language_model.scoring import Score
from keras_xf import models
from keras_xf.data.streams import scored_streams


def score_streams(
    model: keras.Model,
    corpus: Corpus,
    *,
    segment_length: int,
    memory_length: int,
    attention_window: int | None = None,
    clamp_length: int | None = None,
    batch_size: int = 10,
    jit_compile: bool = False,
) -> Score:
    """Predicts each token of a corpus once, from all that is remembered.

    The text is laid out in rows side by side, which are read segment by
    segment; each row begins with a blank memory. Each token counts once,
    whatever the length of its segment.

    Args:
        model: A Transformer-XL.
        corpus: The text.
        segment_length: Tokens of a row at once.
        memory_length: Positions before a segment that each layer sees.
        attention_window: How many positions each position sees in a layer,
            itself the first; all of its segment and the memory if None. With a
            window of the memory's length or less, the segments' length is a
            question of speed alone.
        clamp_length: Distances beyond it count as it.
        batch_size: Rows.
        jit_compile: Whether to use XLA.
    """
    reader = StreamReader(
        model,
        memory_length=memory_length,
        attention_window=attention_window,
        clamp_length=clamp_length,
        jit_compile=jit_compile,
    )
    nats = 0.0
    state = reader.blank(batch_size, segment_length)
    for inputs, targets, weights in scored_streams(
        corpus.token_ids, segment_length, batch_size
    ):
        if memory_length == 0:
            state = reader.blank(batch_size, segment_length)
        weights = weights["logits"].numpy()
        # Rows at their ends take longer: they have a mask.
        length = None if weights.all() else inputs["length"]
        nll, state = reader.score(
            inputs["token_ids"], state, targets["logits"], length
        )
        # In float64: a float32 sum over a corpus would lose digits.
        nats += float(np.sum(nll.numpy() * weights, dtype=np.float64))
    return Score(
        nats, len(corpus.token_ids), corpus.num_bytes, corpus.num_characters
    )


class StreamReader:
    """Reads rows of tokens piece by piece, compiled.

    What is remembered are keys and values, which are not made again.

    Args:
        model: A Transformer-XL.
        memory_length: As in `score_streams`, and the following likewise.
        attention_window: See there.
        clamp_length: See there.
        jit_compile: See there.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        memory_length: int,
        attention_window: int | None = None,
        clamp_length: int | None = None,
        jit_compile: bool = False,
    ):
        variant = models.transformer_xl_variant(
            model, attention_window=attention_window, clamp_length=clamp_length
        )
        self._twin = models.build_transformer_xl_step(variant)
        # A state has a size; where nothing is real in it, nothing is seen.
        self._size = max(1, memory_length)

        def read(token_ids, state, length=None):
            # That the softmax has no use leaves it out of the graph.
            return self._twin.nll(token_ids, state, token_ids, length)[1]

        self._score = tf.function(self._twin.nll, jit_compile=jit_compile)
        self._read = tf.function(read, jit_compile=jit_compile)

    def blank(self, batch_size: int, segment_length: int) -> dict:
        """Returns the state before the first piece.

        Args:
            batch_size: Number of rows.
            segment_length: Tokens of most pieces.
        """
        return self._twin.initial_state(batch_size, self._size, segment_length)

    def score(self, token_ids, state, target_ids, length=None):
        """Reads the next piece of each row, and scores what follows.

        Args:
            token_ids: Integer tensor `(batch, length)`.
            state: What `blank` or the last call returned.
            target_ids: Integer tensor `(batch, length)`, the next tokens.
            length: Integer `(batch,)`, how many of a row's are real; all if
                None.

        Returns:
            The pair of minus log-probabilities, `(batch, length)`, and the new
            state.
        """
        return self._score(token_ids, state, target_ids, length)

    def read(self, token_ids, state):
        """Reads the next piece of each row, and returns the new state."""
        return self._read(token_ids, state)

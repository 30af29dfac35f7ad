"""How well a language model predicts a text."""

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from apps.language_model.corpus import Corpus
from keras_xf import models
from keras_xf.data.windows import scored_windows


@dataclasses.dataclass(frozen=True)
class Score:
    """How well a text was predicted.

    Attributes:
        nats: Sum over all tokens of `-log p(token)`.
        tokens: Number of tokens, an `EOS` after each document counted.
        bytes: Number of bytes.
        characters: Number of characters.
    """

    nats: float
    tokens: int
    bytes: int
    characters: int

    @property
    def bits_per_token(self) -> float:
        """Mean over the tokens."""
        return self.nats / math.log(2) / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """What a coder driven by the model would need for each byte.

        The ends of the documents are paid for too. Where tokens are words, it
        is what their sequence would need: whitespace beside ends of lines, and
        which word it was that the vocabulary does not have, are not told.
        """
        return self.nats / math.log(2) / self.bytes

    @property
    def bits_per_character(self) -> float:
        """The same for each character."""
        return self.nats / math.log(2) / self.characters

    @property
    def perplexity(self) -> float:
        """Of tokens; infinite where it has no float."""
        try:
            return math.exp(self.nats / self.tokens)
        except OverflowError:
            return math.inf


def score_corpus(
    model: keras.Model,
    corpus: Corpus,
    *,
    window_length: int,
    stride: int,
    batch_size: int = 32,
    jit_compile: bool = False,
) -> Score:
    """Predicts each token of a corpus once, from tokens before it alone.

    Args:
        model: A language model. A Transformer-XL has a blank memory for each
            window, and begins it with the token before, as it does its
            segments; others begin with `BOS`.
        corpus: The text.
        window_length: Tokens that the model sees at once.
        stride: Tokens from window to window; each token but the first has at
            least `window_length - stride` of context.
        batch_size: Windows at once.
        jit_compile: Whether to use XLA.
    """
    nll, continues = window_nll(model)
    batches = scored_windows(
        corpus.token_ids,
        length=window_length,
        batch_size=batch_size,
        stride=stride,
        continues=continues,
    )

    @tf.function(jit_compile=jit_compile)
    def sum_batch(inputs, targets, weights):
        nats = nll(inputs, targets["logits"])
        # In float64: a float32 sum over a corpus would lose digits.
        return tf.reduce_sum(tf.cast(nats * weights["logits"], tf.float64))

    nats = sum(float(sum_batch(*batch)) for batch in batches)
    return Score(
        nats, len(corpus.token_ids), corpus.num_bytes, corpus.num_characters
    )


def window_nll(model: keras.Model) -> tuple[Callable, bool]:
    """Returns how a model scores windows of tokens.

    Args:
        model: A language model.

    Returns:
        A function of a batch of inputs and their targets, which gives minus the
        log-probabilities of the targets, `(batch, length)`; and whether windows
        begin with the token before, not with `BOS`.
    """
    if "memory" in model.input:
        return _nll_without_memory(model), True
    if "log_probs" in model.output:
        scorer = models.build_language_model_scorer(model)

        def from_scorer(inputs, target_ids):
            given = {**inputs, "target_ids": target_ids}
            return scorer(given, training=False)["nll"]

        return from_scorer, False

    def from_logits(inputs, target_ids):
        logits = model(inputs, training=False)["logits"]
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            target_ids, tf.cast(logits, tf.float32)
        )

    return from_logits, False


def _nll_without_memory(model):
    variant = models.transformer_xl_variant(
        model, memory_length=0, attention_window=None
    )
    scorer = models.build_transformer_xl_scorer(variant)

    def nll(inputs, target_ids):
        rows = inputs["token_ids"].shape[0]
        blank = models.initial_memory(variant, rows)
        given = {**inputs, **blank, "target_ids": target_ids}
        return scorer(given, training=False)["nll"]

    return nll

"""A conversation with a served Transformer-XL, which remembers nothing."""

from typing import Protocol

import numpy as np

from export.clients.text import BOS
from export.clients.text import EOS
from export.clients.text import MASK
from export.clients.text import PAD
from export.clients.text import UNK

# Tokens of one request. Answers hold a number for each token and each word of
# the vocabulary.
_MAX_TOKENS = 64
_NEVER_WRITTEN = [PAD, UNK, BOS, MASK]


class Model(Protocol):
    """What a conversation needs of a model."""

    memory_shape: tuple[int, int, int]
    vocabulary_size: int

    def lm_step(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Reads the next tokens."""


class Conversation:
    """Keeps what a served model is to remember, and sends it along.

    The memory goes with each request and comes back with each answer, so that
    the server need not know who asks. How a text is cut into calls does not
    matter.

    Args:
        model: A `RestModel` or a `LocalModel`, which conversations may share.
        text: What makes ids of texts, a `ByteText` or a `LibraryText`.

    Attributes:
        memory: Float32 `(num_layers, memory_length, hidden_dim)`.
        memory_length: How much of it is real, its last positions.

    Raises:
        ValueError: If model and text have other vocabularies.

    Example:

    >>> model = RestModel("http://localhost:8501/v1/models/tokens")
    >>> conversation = Conversation(model, ByteText())
    >>> conversation.read("Once upon a time")
    >>> conversation.write(20)
    """

    def __init__(self, model: Model, text):
        if model.vocabulary_size != text.vocabulary_size:
            raise ValueError(
                "`text` must have the vocabulary of the model. Received: "
                f"text={text.vocabulary_size}, model={model.vocabulary_size}."
            )
        self._model = model
        self._text = text
        self.memory = np.zeros(model.memory_shape, np.float32)
        self.memory_length = 0
        # A text begins with BOS, once: the server does not put it there.
        self._unread = [BOS]
        self._log_probs = None

    def read(self, text: str) -> float:
        """Reads a text after all that was read and written before.

        Args:
            text: The text.

        Returns:
            Its log-probability, in nats.
        """
        token_ids = self._text.encode(text)
        score = 0.0
        for start in range(0, len(token_ids), _MAX_TOKENS):
            part = token_ids[start : start + _MAX_TOKENS]
            last, num_before = self._log_probs, len(self._unread)
            self._unread = self._unread + part
            log_probs = self._send()
            if num_before:
                log_probs = log_probs[num_before - 1 :]
            else:
                log_probs = np.concatenate([last[np.newaxis], log_probs])
            # Each row is of the token after it.
            score += float(log_probs[np.arange(len(part)), part].sum())
        return score

    def write(
        self,
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> str:
        """Goes on, token by token, up to EOS.

        What is written is read, too, but for EOS.

        Args:
            max_new_tokens: Most tokens to write.
            temperature: Divides the log-probabilities before a token is drawn;
                0 for the most probable one.
            seed: Seed of the draws, random if None.

        Returns:
            The text.

        Raises:
            ValueError: If a number is out of range.
        """
        if max_new_tokens < 1:
            raise ValueError(
                "`max_new_tokens` must be positive. Received: "
                f"max_new_tokens={max_new_tokens}."
            )
        if not 0 <= temperature < np.inf:
            raise ValueError(
                "`temperature` must be finite and not negative. Received: "
                f"temperature={temperature}."
            )
        generator = np.random.default_rng(seed)
        written = []
        for _ in range(max_new_tokens):
            self._send()
            token_id = _choose(self._log_probs, temperature, generator)
            if token_id == EOS:
                break
            written.append(token_id)
            # Sent with what comes next.
            self._unread = [token_id]
        return self._text.decode(written)

    def fork(self) -> "Conversation":
        """A conversation that goes on from here, beside this one."""
        other = Conversation(self._model, self._text)
        # Answers replace arrays, and never change them.
        vars(other).update(vars(self))
        return other

    def _send(self):
        """Sends what is unread; returns log-probabilities after each token."""
        if not self._unread:
            return None
        outputs = self._model.lm_step(
            token_ids=np.array([self._unread], np.int32),
            length=np.array([len(self._unread)], np.int32),
            memory=self.memory[np.newaxis],
            memory_length=np.array([self.memory_length], np.int32),
        )
        self.memory = outputs["memory"][0]
        self.memory_length = int(outputs["memory_length"][0])
        # Rows that a server joins with longer ones get longer answers.
        log_probs = outputs["log_probs"][0, : len(self._unread)]
        self._log_probs = log_probs[-1]
        self._unread = []
        return log_probs


def _choose(log_probs, temperature, generator):
    log_probs = log_probs.astype(np.float64)
    log_probs[_NEVER_WRITTEN] = -np.inf
    if temperature == 0:
        return int(log_probs.argmax())
    # The largest becomes 0, so that none overflows.
    weights = np.exp((log_probs - log_probs.max()) / temperature)
    return int(generator.choice(len(weights), p=weights / weights.sum()))

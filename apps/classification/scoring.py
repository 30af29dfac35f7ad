"""How well a classifier tells texts apart."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_xf.data.text_pieces import EvenPieces


@dataclasses.dataclass(frozen=True)
class Score:
    """What a classifier said of texts, and what they are.

    Attributes:
        class_ids: The class of each text, int32 `(texts,)`.
        log_probs: What the model gives each class, float64 `(texts,
            num_classes)`: of a text that is cut, the mean of its pieces',
            normalized again.
        pieces: Number of pieces of all texts.
        right_pieces: Number of those whose most probable class is right.
    """

    class_ids: np.ndarray
    log_probs: np.ndarray
    pieces: int
    right_pieces: int

    @property
    def confusion(self) -> np.ndarray:
        """Numbers of texts, `(num_classes, num_classes)`: class, guess."""
        num_classes = self.log_probs.shape[1]
        counts = np.zeros((num_classes, num_classes), np.int64)
        np.add.at(counts, (self.class_ids, self.log_probs.argmax(axis=1)), 1)
        return counts

    @property
    def accuracy(self) -> float:
        """Fraction of the texts whose most probable class is right."""
        return float(np.trace(self.confusion) / len(self.class_ids))

    @property
    def balanced_accuracy(self) -> float:
        """Mean of each class's own accuracy, over classes that have texts."""
        counts = self.confusion
        texts = counts.sum(axis=1)
        return float(np.mean((np.diag(counts) / texts.clip(1))[texts > 0]))

    @property
    def piece_accuracy(self) -> float:
        """Fraction of the pieces whose most probable class is right."""
        return self.right_pieces / self.pieces

    @property
    def bits_per_text(self) -> float:
        """Mean over the texts of `-log2 p(class)`."""
        rows = np.arange(len(self.class_ids))
        return float(-self.log_probs[rows, self.class_ids].mean() / math.log(2))


def score_texts(
    model: keras.Model,
    token_ids: Sequence,
    class_ids: np.ndarray,
    *,
    window_length: int,
    batch_size: int = 32,
) -> Score:
    """Classifies texts, long ones piece by piece.

    Args:
        model: A classifier.
        token_ids: Integer array `(num_tokens,)` for each text.
        class_ids: The class of each text, int32 `(texts,)`.
        window_length: Most tokens that the model sees at once, `BOS` counted.
        batch_size: Pieces at once.
    """
    pieces = EvenPieces(token_ids, class_ids, length=window_length)

    @tf.function
    def score_batch(inputs):
        logits = model(inputs, training=False)["logits"]
        return tf.nn.log_softmax(tf.cast(logits, tf.float64))

    batches = pieces.dataset(batch_size)
    of_pieces = np.concatenate([score_batch(batch[0]) for batch in batches])
    # The last batch is filled up.
    of_pieces = of_pieces[: len(pieces.rows)]
    sums = np.zeros((len(class_ids), of_pieces.shape[1]))
    np.add.at(sums, pieces.rows, of_pieces)
    means = sums / np.bincount(pieces.rows)[:, np.newaxis]
    is_right = of_pieces.argmax(axis=1) == class_ids[pieces.rows]
    return Score(
        class_ids=class_ids,
        log_probs=tf.nn.log_softmax(means).numpy(),
        pieces=len(pieces.rows),
        right_pieces=int(is_right.sum()),
    )

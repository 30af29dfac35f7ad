"""Classifier of rows of token ids."""

import keras
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.data.text_pieces import count_parts
from keras_xf.data.text_pieces import part_bounds
from keras_xf.serving import requests
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import PAD

# Pieces that the model sees at once: more would cost memory and save no time.
_MAX_PIECES = 32


class ServedClassifier(tf.Module):
    """Classifies rows of token ids, long ones piece by piece.

    The function is to be traced with the signature of `classifier_bundles`,
    which says what goes in and comes out.

    Args:
        model: A model of `token_ids` and `length` to `logits`, float `(batch,
            num_classes)`.
        vocabulary_size: Ids that are served lie below it.
        max_length: Most tokens that the model can see at once, `BOS` counted.
        max_text_length: Longest row that is accepted, in tokens; any if None.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        vocabulary_size: int,
        max_length: int,
        max_text_length: int | None = None,
    ):
        super().__init__(name="served_classifier")
        check(
            max_length >= 2,
            "`max_length` must be at least 2.",
            max_length=max_length,
        )
        check(
            max_text_length is None or max_text_length > 0,
            "`max_text_length` must be None or positive.",
            max_text_length=max_text_length,
        )
        # These alone are saved with the module: with the whole model would go
        # functions that nobody serves. States of seeds are among them, since
        # a reversible stack reads them even where it draws nothing.
        self.state = [variable.value for variable in model.variables]
        self.model = model
        self.vocabulary_size = vocabulary_size
        self.max_length = max_length
        self.max_text_length = max_text_length

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.model.output["logits"].shape[-1]

    def classify(self, token_ids, length):
        """Gives the classes' log-probabilities and the most probable class."""
        with requests.same_rows(token_ids=token_ids, length=length):
            requests.assert_length("token_ids", length, self.max_text_length)
            log_probs = self.score(token_ids, length)
            class_id = tf.argmax(log_probs, axis=1, output_type=tf.int32)
            return {"class_id": class_id, "log_probs": log_probs}

    def score(self, token_ids, length):
        """Returns the log-probabilities of the classes.

        Args:
            token_ids: int32 `(batch, width)`.
            length: int32 `(batch,)`.

        Returns:
            float32 `(batch, num_classes)`.
        """
        token_ids = requests.real_tokens(
            token_ids, length, self.vocabulary_size
        )
        inputs, row = self._cut(token_ids, tf.cast(length, tf.int64))
        log_probs = tf.math.segment_mean(self._score_pieces(inputs), row)
        # A mean of log-probabilities is of a distribution up to a constant.
        return tf.nn.log_softmax(log_probs)

    def _cut(self, token_ids, length):
        """Returns all pieces, each after BOS, and the row of each."""
        batch_size, width = tf.unstack(tf.shape(token_ids, tf.int64))
        num_parts = count_parts(length, self.max_length)
        row = tf.repeat(tf.range(batch_size), num_parts)
        first = tf.cumsum(num_parts, exclusive=True)
        index = tf.range(tf.size(row, tf.int64)) - tf.gather(first, row)
        start, stop = part_bounds(
            index, tf.gather(num_parts, row), tf.gather(length, row)
        )
        # No wider than the longest piece.
        longest = tf.reduce_max(tf.concat([stop - start, [0]], axis=0))
        places = start[:, tf.newaxis] + tf.range(longest)
        is_real = places < stop[:, tf.newaxis]
        places = row[:, tf.newaxis] * width + tf.where(is_real, places, 0)
        # PAD for the rows that have nothing to gather.
        flat = tf.concat([tf.reshape(token_ids, [-1]), [PAD]], axis=0)
        places = tf.where(is_real, places, batch_size * width)
        pieces = tf.gather(flat, places)
        pieces = tf.pad(pieces, [[0, 0], [1, 0]], constant_values=BOS)
        piece_length = tf.cast(stop - start + 1, tf.int32)
        return {"token_ids": pieces, "length": piece_length}, row

    def _score_pieces(self, inputs):
        """Returns the pieces' log-probabilities, a group of them at a time."""
        num_pieces = tf.shape(inputs["length"])[0]
        num_groups = tf.maximum(-(-num_pieces // _MAX_PIECES), 1)
        size = -(-num_pieces // num_groups)
        missing = num_groups * size - num_pieces

        def to_groups(tensor):
            # What fills up is PAD of length 1: no row is without a position.
            fill = 1 if tensor.shape.rank == 1 else PAD
            paddings = [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1)
            tensor = tf.pad(tensor, paddings, constant_values=fill)
            shape = tf.concat([[num_groups, size], tf.shape(tensor)[1:]], 0)
            return tf.reshape(tensor, shape)

        def score(group):
            logits = self.model(group, training=False)["logits"]
            return tf.nn.log_softmax(tf.cast(logits, tf.float32))

        log_probs = tf.map_fn(
            score,
            tf.nest.map_structure(to_groups, inputs),
            fn_output_signature=tf.TensorSpec(
                [None, self.num_classes], tf.float32
            ),
            parallel_iterations=1,
        )
        return tf.reshape(log_probs, [-1, self.num_classes])[:num_pieces]

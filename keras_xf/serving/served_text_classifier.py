"""Classifier that takes strings and gives names of classes."""

from collections.abc import Sequence

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.serving import requests
from keras_xf.serving.served_classifier import ServedClassifier
from keras_xf.text import Tokenizer


class ServedTextClassifier(tf.Module):
    """Classifies strings.

    The function is to be traced with the signature of `classifier_bundles`,
    which says what goes in and comes out.

    Args:
        served_classifier: The same on token ids.
        tokenizer: The tokenizer that the model was trained with.
        classes: The names of the classes.
    """

    def __init__(
        self,
        served_classifier: ServedClassifier,
        tokenizer: Tokenizer,
        classes: Sequence[str],
    ):
        super().__init__(name="served_text_classifier")
        check(
            len(set(classes)) == len(classes),
            "`classes` must be different.",
            classes=list(classes),
        )
        check(
            len(classes) == served_classifier.num_classes,
            "`classes` must have a name for each class of the model.",
            classes=len(classes),
            model=served_classifier.num_classes,
        )
        self.served_classifier = served_classifier
        self.tokenizer = tokenizer
        self.classes = list(classes)

    def classify_text(self, text):
        """Gives the names of all classes, the most probable first."""
        token_ids, length = self.tokenizer.encode(text)
        requests.assert_length(
            "text", length, self.served_classifier.max_text_length
        )
        log_probs = self.served_classifier.score(token_ids, length)
        score, class_ids = tf.math.top_k(log_probs, k=len(self.classes))
        label = tf.gather(tf.constant(self.classes), class_ids)
        return {"label": label, "score": score}

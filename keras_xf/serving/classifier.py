"""The bundles that a classifier of texts is served as."""

import math
from collections.abc import Sequence

import keras

from keras_xf.serving.bundle import Bundle
from keras_xf.serving.make_bundle import TEXT
from keras_xf.serving.make_bundle import TOKENS
from keras_xf.serving.make_bundle import make_bundle
from keras_xf.serving.served_classifier import ServedClassifier
from keras_xf.serving.served_text_classifier import ServedTextClassifier
from keras_xf.serving.text_requests import SENTENCE
from keras_xf.serving.text_requests import count_tokens
from keras_xf.serving.text_requests import longest_text
from keras_xf.serving.text_requests import text_request
from keras_xf.serving.text_requests import unknown_id_request
from keras_xf.text import Tokenizer

# The file in `assets/` with the names of the classes.
CLASSES = "classes.txt"
# What users are to read.
_DESCRIPTIONS = {
    "signatures": {
        "classify": "Says to which class each row of tokens belongs, a long "
        "one by its pieces.",
        "classify_text": "Says to which class each text belongs, a long one by "
        "its pieces.",
    },
    "inputs": {
        "token_ids": "ids of the tokens, without BOS; padding may be any id",
        "length": "number of tokens, without padding",
        "text": "UTF-8, may be empty",
    },
    "outputs": {
        "class_id": "the most probable class, counted from 0: a line of "
        "`assets/classes.txt`",
        "log_probs": "log-probabilities of all classes, in the order of "
        "`assets/classes.txt`",
        "label": "names of all classes, the most probable first",
        "score": "their log-probabilities",
    },
}


def classifier_bundles(
    model: keras.Model,
    tokenizer: Tokenizer,
    classes: Sequence[str],
    *,
    max_length: int,
    max_text_length: int | None = None,
) -> dict[str, Bundle]:
    """Makes the two bundles of a classifier of texts.

    Texts are rows of `token_ids` int32 `(batch, width)`, of which the first
    `length` int32 `(batch,)` are real, or strings `text` `(batch,)`. They hold
    no BOS, which the graph puts before them, and may be empty. One that is
    longer than the model can see is cut evenly into as few pieces as fit, and
    gets the mean of their log-probabilities, normalized again.

    - `classify` of the bundle "tokens", also as `serving_default`, gives
      `log_probs` float32 `(batch, num_classes)` and `class_id` int32
      `(batch,)`, the most probable class. It needs no operations for text.
    - `classify_text` of the bundle "text", also as `serving_default`, gives
      `label` string `(batch, num_classes)`, the names of the classes with the
      most probable first, and their log-probabilities `score` float32 `(batch,
      num_classes)`.

    A row's results do not depend on the rows beside it. But what must not be
    served, such as an id out of the vocabulary, fails the batch it is in.

    Args:
        model: The classifier, from a dict of `token_ids` and `length` to a
            dict of `logits` `(batch, num_classes)`.
        tokenizer: The tokenizer that the model was trained with.
        classes: The names of the classes.
        max_length: Most tokens that the model can see at once, BOS counted.
        max_text_length: Longest text that is accepted, in tokens; any if None.

    Returns:
        The bundles, by the names "tokens" and "text".

    Raises:
        ValueError: If an argument is out of range or does not go with the
            model.
    """
    tokens = ServedClassifier(
        model,
        vocabulary_size=tokenizer.vocabulary_size,
        max_length=max_length,
        max_text_length=max_text_length,
    )
    text = ServedTextClassifier(tokens, tokenizer, classes)
    requests = _requests(tokenizer, max_length, max_text_length)
    shared = {
        "tokenizers": {"text": tokenizer},
        "names": {CLASSES: list(classes)},
        "limits": {
            "max_text_length": max_text_length,
            "vocabulary_size": tokenizer.vocabulary_size,
            "num_classes": len(classes),
        },
    }
    return {
        "tokens": make_bundle(
            tokens,
            {"classify": (tokens.classify, TOKENS)},
            "classify",
            requests,
            _DESCRIPTIONS,
            core_ops_only=True,
            bad_requests={
                "a token id that is not in the vocabulary": (
                    "classify",
                    unknown_id_request(tokenizer.vocabulary_size),
                )
            },
            **shared,
        ),
        "text": make_bundle(
            text,
            {"classify_text": (text.classify_text, TEXT)},
            "classify_text",
            requests,
            _DESCRIPTIONS,
            **shared,
        ),
    }


def _requests(tokenizer, max_length, max_text_length):
    """Makes requests of one row and more, of one piece and of several."""
    limit = max_text_length or count_tokens(tokenizer, SENTENCE)
    whole = longest_text(tokenizer, limit)
    half = longest_text(tokenizer, count_tokens(tokenizer, whole) // 2)
    batches = [[whole], [half], [half, "", whole]]
    long = SENTENCE
    while count_tokens(tokenizer, long) < max_length:
        long += f" {SENTENCE}"
    if count_tokens(tokenizer, long) <= (max_text_length or math.inf):
        batches.append([whole, long])
    return [text_request(tokenizer, batch) for batch in batches]

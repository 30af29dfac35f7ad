"""The bundles that a translation model is served as."""

import tensorflow as tf

from keras_xf.models import SourceStepModel
from keras_xf.serving.bundle import Bundle
from keras_xf.serving.make_bundle import TEXT
from keras_xf.serving.make_bundle import make_bundle
from keras_xf.serving.served_translation import ServedTextTranslation
from keras_xf.serving.served_translation import ServedTranslation
from keras_xf.serving.text_requests import SENTENCE
from keras_xf.serving.text_requests import longest_text
from keras_xf.serving.text_requests import text_request
from keras_xf.serving.text_requests import unknown_id_request
from keras_xf.text import Tokenizer
from keras_xf.text import unwritten_ids

_SOURCES = {
    "source_ids": tf.TensorSpec([None, None], tf.int32, "source_ids"),
    "source_length": tf.TensorSpec([None], tf.int32, "source_length"),
}
# What users are to read.
_DESCRIPTIONS = {
    "signatures": {
        "translate": "Translates rows of tokens, the best first.",
        "translate_text": "Translates texts, the best first.",
    },
    "inputs": {
        "source_ids": "ids of the tokens, without EOS; padding may be any id",
        "source_length": "number of tokens, without padding",
        "text": "UTF-8, a sentence, may be empty",
    },
    "outputs": {
        "token_ids": "ids of the translations, then PAD, which is 0",
        "length": "number of their tokens, without padding",
        "score": "log-probability over the length penalty",
        "text": "the translations",
    },
}


def translation_bundles(
    step_model: SourceStepModel,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    *,
    max_new_tokens: int = 128,
    max_source_length: int | None = None,
    num_beams: int = 5,
    num_hypotheses: int = 1,
    length_penalty: float = 0.6,
) -> dict[str, Bundle]:
    """Makes the two bundles of a translation model, with beam search inside.

    - `translate` of the bundle "tokens", also as `serving_default`, takes
      `source_ids` int32 `(batch, width)` and `source_length` int32 `(batch,)`.
      It needs no operations for text.
    - `translate_text` of the bundle "text", also as `serving_default`, takes
      strings `text` `(batch,)`, and gives strings `text` `(batch, hypotheses)`
      beside the rest.

    Both give `token_ids` int32 `(batch, hypotheses, max_new_tokens)`, `length`
    int32 and `score` float32 `(batch, hypotheses)`, the best first. A row's
    results do not depend on the rows beside it; one without tokens becomes
    nothing. No token is written that would end a line.

    Args:
        step_model: The step twin of the model; both are served.
        source_tokenizer: The tokenizer of the sources.
        target_tokenizer: That of the translations; the same, where both sides
            have one.
        max_new_tokens: Most tokens of a translation, EOS counted.
        max_source_length: Longest source that is accepted, in tokens; by
            default as long as the model's positions allow.
        num_beams: As `keras_xf.decoding.beam_search` takes it, and so are the
            following.
        num_hypotheses: How many translations are returned.
        length_penalty: How much longer ones are preferred.

    Returns:
        The bundles, by the names "tokens" and "text".

    Raises:
        ValueError: If an argument is out of range or does not go with the
            model.
    """
    tokens = ServedTranslation(
        step_model,
        source_tokenizer.vocabulary_size,
        max_new_tokens=max_new_tokens,
        max_source_length=max_source_length,
        num_beams=num_beams,
        num_hypotheses=num_hypotheses,
        length_penalty=length_penalty,
        suppressed_ids=unwritten_ids(target_tokenizer),
    )
    text = ServedTextTranslation(tokens, source_tokenizer, target_tokenizer)
    tokenizers = {"text": source_tokenizer}
    if target_tokenizer is not source_tokenizer:
        tokenizers = {
            "source_text": source_tokenizer,
            "target_text": target_tokenizer,
        }
    shared = {
        "tokenizers": tokenizers,
        "limits": {
            "max_new_tokens": max_new_tokens,
            "max_source_length": tokens.max_source_length,
            "num_beams": num_beams,
            "num_hypotheses": num_hypotheses,
            "vocabulary_size": step_model.vocabulary_size,
            "source_vocabulary_size": source_tokenizer.vocabulary_size,
        },
    }
    requests = _requests(source_tokenizer, tokens.max_source_length)
    unknown_id = unknown_id_request(source_tokenizer.vocabulary_size)
    return {
        "tokens": make_bundle(
            tokens,
            {"translate": (tokens.translate, _SOURCES)},
            "translate",
            requests,
            _DESCRIPTIONS,
            core_ops_only=True,
            bad_requests={
                "a token id that is not in the vocabulary": (
                    "translate",
                    _as_source(unknown_id),
                )
            },
            **shared,
        ),
        "text": make_bundle(
            text,
            {"translate_text": (text.translate_text, TEXT)},
            "translate_text",
            requests,
            _DESCRIPTIONS,
            **shared,
        ),
    }


def _requests(tokenizer, limit):
    """One row and three, of which one is empty."""
    limit = len(SENTENCE) if limit is None else limit
    longer = longest_text(tokenizer, limit)
    short = longest_text(tokenizer, min(limit, 4))
    return [
        _as_source(text_request(tokenizer, texts))
        for texts in ([longer], [short, "", longer])
    ]


def _as_source(request):
    names = {"token_ids": "source_ids", "length": "source_length"}
    return {names.get(name, name): each for name, each in request.items()}

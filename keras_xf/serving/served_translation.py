"""Encoder-decoder that takes and gives token ids, or strings."""

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.decoding.translate import translate
from keras_xf.models import SourceStepModel
from keras_xf.serving import requests
from keras_xf.text import Tokenizer


class ServedTranslation(tf.Module):
    """Translates rows of token ids.

    The functions are to be traced with the signatures of
    `translation_bundles`, which says what goes in and comes out.

    Args:
        step_model: The step twin of the model; both are used.
        source_vocabulary_size: Number of source ids.
        max_new_tokens: Most tokens of a translation, EOS counted.
        max_source_length: Longest source that is accepted, in tokens; by
            default as long as the model's positions allow.
        **search: As `keras_xf.decoding.beam_search` takes them.
    """

    def __init__(
        self,
        step_model: SourceStepModel,
        source_vocabulary_size: int,
        *,
        max_new_tokens: int,
        max_source_length: int | None = None,
        **search,
    ):
        super().__init__(name="served_translation")
        max_length = step_model.max_length
        if max_length is not None:
            check(
                max_new_tokens <= max_length,
                "`max_new_tokens` must not be more than the model has "
                "positions.",
                max_new_tokens=max_new_tokens,
                max_length=max_length,
            )
            # EOS takes a position.
            max_source_length = min(
                max_source_length or max_length, max_length - 1
            )
        # These alone are saved with the module, as `ServedTokens` has it.
        self.state = [v.value for v in step_model.model.variables]
        self.step_model = step_model
        self.source_vocabulary_size = source_vocabulary_size
        self.max_new_tokens = max_new_tokens
        self.max_source_length = max_source_length
        self.search = dict(search)

    def translate(self, source_ids, source_length):
        """Translates rows by beam search."""
        with requests.same_rows(
            source_ids=source_ids, source_length=source_length
        ):
            requests.assert_length(
                "source_ids", source_length, self.max_source_length
            )
            return self.complete(source_ids, source_length)

    def complete(self, source_ids, source_length):
        """Translates rows of fitting length."""
        source_ids = requests.real_tokens(
            source_ids,
            source_length,
            self.source_vocabulary_size,
            names=("source_ids", "source_length"),
        )
        return translate(
            self.step_model,
            self.step_model.initial_state,
            source_ids,
            source_length,
            max_new_tokens=self.max_new_tokens,
            **self.search,
        )


class ServedTextTranslation(tf.Module):
    """Translates strings.

    Args:
        served: The same on token ids.
        source_tokenizer: The tokenizer of the sources.
        target_tokenizer: That of the translations.
    """

    def __init__(
        self,
        served: ServedTranslation,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
    ):
        super().__init__(name="served_text_translation")
        sizes = {
            "source_tokenizer": (
                source_tokenizer.vocabulary_size,
                served.source_vocabulary_size,
            ),
            "target_tokenizer": (
                target_tokenizer.vocabulary_size,
                served.step_model.vocabulary_size,
            ),
        }
        for name, (found, expected) in sizes.items():
            check(
                found == expected,
                f"`{name}` must have the vocabulary of the model.",
                **{name: found},
                model=expected,
            )
        self.served = served
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer

    def translate_text(self, text):
        """Translates strings by beam search."""
        source_ids, length = self.source_tokenizer.encode(text)
        requests.assert_length("text", length, self.served.max_source_length)
        results = self.served.complete(source_ids, length)
        text = self.target_tokenizer.decode(
            results["token_ids"], results["length"]
        )
        return {"text": text, **results}

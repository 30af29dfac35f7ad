"""Language model that takes and gives strings."""

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.serving import requests
from keras_xf.serving.served_tokens import ServedTokens
from keras_xf.text import Tokenizer


class ServedText(tf.Module):
    """Continues strings.

    The functions are to be traced with the signatures of
    `language_model_bundles`, which says what goes in and comes out.

    Args:
        served_tokens: The same on token ids.
        tokenizer: The tokenizer that the model was trained with.
    """

    def __init__(self, served_tokens: ServedTokens, tokenizer: Tokenizer):
        super().__init__(name="served_text")
        check(
            tokenizer.vocabulary_size == served_tokens.vocabulary_size,
            "`tokenizer` must have the vocabulary of the model.",
            tokenizer=tokenizer.vocabulary_size,
            model=served_tokens.vocabulary_size,
        )
        self.served_tokens = served_tokens
        self.tokenizer = tokenizer

    def generate_text(self, text):
        """Continues strings by the most probable tokens."""
        return self._complete(text)

    def sample_text(self, text, seed, temperature, top_p):
        """Continues strings by tokens that are drawn, each on its own."""
        with requests.same_rows(
            text=text, seed=seed, temperature=temperature, top_p=top_p
        ):
            return self._complete(text, seed, temperature, top_p)

    def _complete(self, text, *sampling):
        token_ids, length = self.tokenizer.encode(text)
        requests.assert_length(
            "text", length, self.served_tokens.max_prompt_length
        )
        results = self.served_tokens.complete(token_ids, length, *sampling)
        text = self.tokenizer.decode(results["token_ids"], results["length"])
        return {"text": text, **results}

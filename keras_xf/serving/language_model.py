"""The bundles that a language model is served as."""

import tensorflow as tf

from keras_xf.models import StepModel
from keras_xf.serving.bundle import Bundle
from keras_xf.serving.language_model_requests import bad_requests
from keras_xf.serving.language_model_requests import good_requests
from keras_xf.serving.make_bundle import TEXT
from keras_xf.serving.make_bundle import TOKENS
from keras_xf.serving.make_bundle import make_bundle
from keras_xf.serving.served_text import ServedText
from keras_xf.serving.served_tokens import ServedTokens
from keras_xf.text import Tokenizer

_SAMPLING = {
    "seed": tf.TensorSpec([None, 2], tf.int32, "seed"),
    "temperature": tf.TensorSpec([None], tf.float32, "temperature"),
    "top_p": tf.TensorSpec([None], tf.float32, "top_p"),
}
# What users are to read.
_DESCRIPTIONS = {
    "signatures": {
        "generate": "Continues prompts with the most probable tokens.",
        "sample": "Continues prompts with tokens that are drawn.",
        "score": "Gives the log-probabilities of the tokens themselves.",
        "generate_text": "Continues texts with the most probable tokens.",
        "sample_text": "Continues texts with tokens that are drawn.",
    },
    "inputs": {
        "token_ids": "ids of the tokens, without BOS; padding may be any id",
        "length": "number of tokens, without padding",
        "text": "UTF-8, may be empty",
        "seed": "the same seed draws the same tokens",
        "temperature": "divides the logits; 0 takes the most probable token",
        "top_p": "share of the probability to draw from, in (0, 1]",
    },
    "outputs": {
        "token_ids": "ids of the new tokens, then PAD, which is 0",
        "length": "number of new tokens, without padding",
        "score": "sum of the log-probabilities of the tokens",
        "log_probs": "of each token after those before it; 0 behind `length`",
        "text": "the new text, without the prompt",
    },
}


def language_model_bundles(
    step_model: StepModel,
    tokenizer: Tokenizer,
    *,
    max_new_tokens: int = 128,
    top_k: int | None = None,
    max_prompt_length: int | None = None,
) -> dict[str, Bundle]:
    """Makes the two bundles of a language model.

    Prompts are rows of `token_ids` int32 `(batch, width)`, of which the first
    `length` int32 `(batch,)` are real, or strings `text` `(batch,)`. They hold
    no BOS, which the graph puts before them, and may be empty.

    Signatures of "tokens", which needs no operations for text:

    - `generate`, also as `serving_default`, continues prompts with the most
      probable tokens;
    - `sample` draws tokens, each row by its own `seed` int32 `(batch, 2)`,
      `temperature` and `top_p`, both float32 `(batch,)`;
    - `score` gives `log_probs` float32 `(batch, width)` of the tokens
      themselves, 0 behind the length, and their sum `score` `(batch,)`.

    Signatures of "text":

    - `generate_text`, also as `serving_default`, and `sample_text`, from
      `text` instead of `token_ids` and `length`.

    All but `score` return `token_ids` int32 `(batch, 1, max_new_tokens)`, the
    new tokens up to EOS with PAD behind them, their number `length` int32
    `(batch, 1)` and `score` float32 `(batch, 1)`, the sum of their
    log-probabilities and of that of EOS; the text ones also `text` string
    `(batch, 1)`, valid UTF-8.

    A row's results do not depend on the rows beside it. But what must not be
    served, such as an id out of the vocabulary, fails the batch it is in.

    Args:
        step_model: The step twin of the model; both are served.
        tokenizer: The tokenizer that the model was trained with.
        max_new_tokens: Most tokens to write, EOS counted.
        top_k: Most probable tokens that `sample` draws from; all if None.
        max_prompt_length: Longest prompt that is accepted, in tokens. By
            default as long as the model's positions allow.

    Returns:
        The bundles, by the names "tokens" and "text".

    Raises:
        ValueError: If an argument is out of range or does not go with the
            model.
    """
    tokens = ServedTokens(
        step_model,
        max_new_tokens=max_new_tokens,
        top_k=top_k,
        max_prompt_length=max_prompt_length,
    )
    text = ServedText(tokens, tokenizer)
    tokens_signatures = {
        "generate": (tokens.generate, TOKENS),
        "sample": (tokens.sample, TOKENS | _SAMPLING),
        "score": (tokens.score, TOKENS),
    }
    text_signatures = {
        "generate_text": (text.generate_text, TEXT),
        "sample_text": (text.sample_text, TEXT | _SAMPLING),
    }
    limits = {
        "max_new_tokens": tokens.max_new_tokens,
        "max_prompt_length": tokens.max_prompt_length,
        "max_length": step_model.max_length,
        "top_k": tokens.top_k,
        "vocabulary_size": tokens.vocabulary_size,
    }
    requests = good_requests(tokenizer, tokens.max_prompt_length)
    refused = bad_requests(tokens.vocabulary_size)
    return {
        "tokens": make_bundle(
            tokens,
            tokens_signatures,
            "generate",
            requests,
            _DESCRIPTIONS,
            tokenizers={"text": tokenizer},
            limits=limits,
            core_ops_only=True,
            random_signatures=["sample"],
            bad_requests=refused["tokens"],
        ),
        "text": make_bundle(
            text,
            text_signatures,
            "generate_text",
            requests,
            _DESCRIPTIONS,
            tokenizers={"text": tokenizer},
            limits=limits,
            random_signatures=["sample_text"],
            bad_requests=refused["text"],
        ),
    }

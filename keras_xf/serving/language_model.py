"""The bundles that a language model is served as."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_xf.models import StepModel
from keras_xf.serving.bundle import Bundle
from keras_xf.serving.served_text import ServedText
from keras_xf.serving.served_tokens import ServedTokens
from keras_xf.text import Tokenizer
from keras_xf.text import special_ids

_TOKENS = {
    "token_ids": tf.TensorSpec([None, None], tf.int32, "token_ids"),
    "length": tf.TensorSpec([None], tf.int32, "length"),
}
_TEXT = {"text": tf.TensorSpec([None], tf.string, "text")}
_SAMPLING = {
    "seed": tf.TensorSpec([None, 2], tf.int32, "seed"),
    "temperature": tf.TensorSpec([None], tf.float32, "temperature"),
    "top_p": tf.TensorSpec([None], tf.float32, "top_p"),
}
# Two rows, one of them empty, so that padding is replayed as well.
_REQUEST = {
    "token_ids": np.array([[special_ids.UNK], [special_ids.PAD]], np.int32),
    "length": np.array([1, 0], np.int32),
    "text": np.array([b"a", b""]),
    "seed": np.array([[1, 2], [3, 4]], np.int32),
    "temperature": np.array([0.5, 1.0], np.float32),
    "top_p": np.array([0.9, 1.0], np.float32),
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
        "generate": (tokens.generate, _TOKENS),
        "sample": (tokens.sample, _TOKENS | _SAMPLING),
        "score": (tokens.score, _TOKENS),
    }
    text_signatures = {
        "generate_text": (text.generate_text, _TEXT),
        "sample_text": (text.sample_text, _TEXT | _SAMPLING),
    }
    limits = {
        "max_new_tokens": tokens.max_new_tokens,
        "max_prompt_length": tokens.max_prompt_length,
        "max_length": step_model.max_length,
        "top_k": tokens.top_k,
    }
    return {
        "tokens": Bundle(
            module=tokens,
            **_signatures(tokens_signatures, default="generate"),
            tokenizers={"text": tokenizer},
            limits=limits,
            core_ops_only=True,
        ),
        "text": Bundle(
            module=text,
            **_signatures(text_signatures, default="generate_text"),
            tokenizers={"text": tokenizer},
            limits=limits,
        ),
    }


def _signatures(
    functions: dict[str, tuple[Callable, dict]], default: str
) -> dict[str, dict]:
    signatures, requests = {}, {}
    for name, (function, specs) in functions.items():
        signatures[name] = tf.function(
            function,
            input_signature=list(specs.values()),
            # No tensor is branched on in Python. Converting the code for that
            # would take as long as tracing it.
            autograph=False,
        )
        requests[name] = {key: _REQUEST[key] for key in specs}
    # The same function under a second name: traced and saved once.
    signatures["serving_default"] = signatures[default]
    requests["serving_default"] = requests[default]
    return {"signatures": signatures, "requests": requests}

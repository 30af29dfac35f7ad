"""The bundles that a language model is served as."""

from keras_xf.models import StepModel
from keras_xf.serving.bundle import Bundle
from keras_xf.serving.generation_bundles import generation_bundles
from keras_xf.serving.served_tokens import ServedTokens
from keras_xf.text import Tokenizer


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
    return generation_bundles(tokens, tokenizer)

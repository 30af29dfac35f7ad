"""The bundles that a Transformer-XL is served as."""

import dataclasses

import keras

from keras_xf.checks import check
from keras_xf.models import build_transformer_xl_step
from keras_xf.models import transformer_xl_variant
from keras_xf.serving.bundle import Bundle
from keras_xf.serving.generation_bundles import generation_bundles
from keras_xf.serving.served_tokens import ServedTokens
from keras_xf.text import Tokenizer

# Tokens that are read or scored at once. Attention to a window of W needs
# memory for as many times W + this; each segment costs some work on its own.
_SEGMENT_LENGTH = 256


def transformer_xl_bundles(
    model: keras.Model,
    tokenizer: Tokenizer,
    *,
    memory_length: int | None = None,
    attention_window: int | None = None,
    clamp_length: int | None = None,
    max_new_tokens: int = 128,
    top_k: int | None = None,
    max_prompt_length: int | None = None,
) -> dict[str, Bundle]:
    """Makes the two bundles of a Transformer-XL.

    They have the signatures of `language_model_bundles`. Rows of any length
    are continued and scored, segment by segment, so that memory is linear in
    their length. "tokens" has one signature more:

    - `lm_step` reads the next tokens of conversations. It takes `token_ids`
      int32 `(batch, width)`, of which the first `length` int32 `(batch,)` are
      real, and what the last answer gave: `memory` float32 `(batch, num_layers,
      memory_length, hidden_dim)` and `memory_length` int32 `(batch,)`. At
      first `memory_length` is 0, whatever the memory holds. It gives
      `log_probs` float32 `(batch, width, vocabulary_size)` of the token after
      each, 0 behind the length, and the new `memory` and `memory_length`.

    The server keeps nothing: who talks keeps the memory and sends it along,
    `num_layers x memory_length x hidden_dim` numbers each way, besides `width x
    vocabulary_size` ones in the answer. BOS, which a text
    begins with, is put there by the client, once, as the first token of a
    conversation; the other signatures put it there themselves.

    How a text is cut does not matter: any requests that give its tokens, in
    their order, get the log-probabilities of one request with all of them, and
    those of `score`. It is why what is served has an attention window.

    Args:
        model: A model of `build_transformer_xl`, or a variant of it. What is
            served is a variant.
        tokenizer: The tokenizer that the model was trained with.
        memory_length: Positions that each layer remembers; the model's own if
            None. At least `attention_window - 1`.
        attention_window: How many positions each position sees, itself the
            first. If None the model's own, or if it has none `memory_length`,
            as the authors evaluate.
        clamp_length: Distances beyond it count as it; the model's own if None.
        max_new_tokens: Most tokens to write, EOS counted.
        top_k: Most probable tokens that `sample` draws from; all if None.
        max_prompt_length: Longest prompt that is accepted, in tokens; any if
            None.

    Returns:
        The bundles, by the names "tokens" and "text".

    Raises:
        ValueError: If an argument is out of range or does not go with the
            model.
    """
    served = _with_window(model, memory_length, attention_window, clamp_length)
    attention = served.get_layer("attention_0").layer
    window = attention.attention_window
    step_model = build_transformer_xl_step(served)

    def initial_state(batch_size, max_length):
        # What is in the window is enough, however long a sequence is.
        del max_length
        return step_model.initial_state(batch_size, window)

    tokens = ServedTokens(
        dataclasses.replace(step_model, initial_state=initial_state),
        max_new_tokens=max_new_tokens,
        top_k=top_k,
        max_prompt_length=max_prompt_length,
        segment_length=_SEGMENT_LENGTH,
    )
    return generation_bundles(
        tokens,
        tokenizer,
        memory_length=served.input["memory"].shape[2],
        attention_window=window,
        clamp_length=attention.clamp_length,
    )


def _with_window(model, memory_length, attention_window, clamp_length):
    options = {
        "memory_length": memory_length,
        "attention_window": attention_window,
        "clamp_length": clamp_length,
    }
    # Refuses other builders' models, and what is out of range.
    variant = transformer_xl_variant(
        model, **{n: value for n, value in options.items() if value is not None}
    )
    memory_length = variant.input["memory"].shape[2]
    window = variant.get_layer("attention_0").layer.attention_window
    if window is None:
        check(
            memory_length > 0,
            "`memory_length` must be positive for a model without an "
            "`attention_window`: it is the window then.",
            memory_length=memory_length,
        )
        window = memory_length
    check(
        memory_length >= window - 1,
        "`memory_length` must be at least `attention_window` - 1, or results "
        "would depend on how a text is cut.",
        memory_length=memory_length,
        attention_window=window,
    )
    return transformer_xl_variant(variant, attention_window=window)

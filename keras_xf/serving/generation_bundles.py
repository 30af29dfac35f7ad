"""The bundles of a model that continues and scores sequences."""

import tensorflow as tf

from keras_xf.serving.bundle import Bundle
from keras_xf.serving.language_model_requests import bad_requests
from keras_xf.serving.language_model_requests import good_requests
from keras_xf.serving.language_model_requests import memory_requests
from keras_xf.serving.make_bundle import TEXT
from keras_xf.serving.make_bundle import TOKENS
from keras_xf.serving.make_bundle import make_bundle
from keras_xf.serving.served_memory import ServedMemory
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
        "lm_step": "Reads the next tokens of conversations, after a memory.",
    },
    "inputs": {
        "token_ids": "ids of the tokens, without BOS; padding may be any id",
        "length": "number of tokens, without padding",
        "text": "UTF-8, may be empty",
        "seed": "the same seed draws the same tokens",
        "temperature": "divides the logits; 0 takes the most probable token",
        "top_p": "share of the probability to draw from, in (0, 1]",
        "lm_step.token_ids": "ids of the next tokens; a conversation begins "
        "with BOS, which is 2; padding may be any id",
        "memory": "of each row what its last answer gave; anything at first",
        "memory_length": "likewise, 0 at first: how much of it is real",
    },
    "outputs": {
        "token_ids": "ids of the new tokens, then PAD, which is 0",
        "length": "number of new tokens, without padding",
        "score": "sum of the log-probabilities of the tokens",
        "log_probs": "of each token after those before it; 0 behind `length`",
        "text": "the new text, without the prompt",
        "lm_step.log_probs": "of all tokens after each of those; 0 behind "
        "`length`",
        "memory": "for the next request of the conversation",
        "memory_length": "likewise",
    },
}


def generation_bundles(
    tokens: ServedTokens, tokenizer: Tokenizer, **limits: int | None
) -> dict[str, Bundle]:
    """Makes the two bundles of a language model of any kind.

    Args:
        tokens: What is served. If its model has a memory, then `lm_step` is
            among the signatures.
        tokenizer: The tokenizer that the model was trained with.
        **limits: What users are to know of this kind of model.

    Returns:
        The bundles, by the names "tokens" and "text".

    Raises:
        ValueError: If the tokenizer has another vocabulary.
    """
    text = ServedText(tokens, tokenizer)
    tokens_signatures = {
        "generate": (tokens.generate, TOKENS),
        "sample": (tokens.sample, TOKENS | _SAMPLING),
        "score": (tokens.score, TOKENS),
    }
    module, own_requests = tokens, {}
    model_inputs = tokens.step_model.model.input
    if "memory" in model_inputs:
        module = ServedMemory(tokens)
        memory = model_inputs["memory"]
        tokens_signatures["lm_step"] = (
            module.lm_step,
            TOKENS
            | {
                "memory": tf.TensorSpec(memory.shape, memory.dtype, "memory"),
                "memory_length": tf.TensorSpec(
                    [None], tf.int32, "memory_length"
                ),
            },
        )
        own_requests["lm_step"] = memory_requests(tokenizer, memory)
    text_signatures = {
        "generate_text": (text.generate_text, TEXT),
        "sample_text": (text.sample_text, TEXT | _SAMPLING),
    }
    limits = {
        "max_new_tokens": tokens.max_new_tokens,
        "max_prompt_length": tokens.max_prompt_length,
        "max_length": tokens.step_model.max_length,
        "top_k": tokens.top_k,
        "vocabulary_size": tokens.vocabulary_size,
        **limits,
    }
    requests = good_requests(tokenizer, tokens.max_prompt_length)
    refused = bad_requests(tokens.vocabulary_size)
    return {
        "tokens": make_bundle(
            module,
            tokens_signatures,
            "generate",
            requests,
            _DESCRIPTIONS,
            own_requests=own_requests,
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

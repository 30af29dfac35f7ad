"""Requests that a language model is published with, good ones and bad ones."""

import numpy as np

from keras_xf.serving.text_requests import SENTENCE
from keras_xf.serving.text_requests import count_tokens
from keras_xf.serving.text_requests import longest_text
from keras_xf.serving.text_requests import text_request
from keras_xf.serving.text_requests import unknown_id_request
from keras_xf.text import Tokenizer
from keras_xf.text.special_ids import BOS

_SHORT = 4


def good_requests(
    tokenizer: Tokenizer, max_prompt_length: int | None
) -> list[dict]:
    """Makes requests of several sizes, with what any signature may take.

    Args:
        tokenizer: The tokenizer of the model.
        max_prompt_length: Most tokens that a prompt may have, None for any.

    Returns:
        Dicts of arrays: one row and three, with a short prompt and a longer
        one each. Of three rows one is empty, so that there is padding.
    """
    limit = len(SENTENCE) if max_prompt_length is None else max_prompt_length
    short = longest_text(tokenizer, min(limit, _SHORT))
    longer = longest_text(tokenizer, limit)
    # Where only one length fits, none at all is another.
    prompts = [short, longer if longer != short else ""]
    batches = [[prompt] for prompt in prompts]
    for prompt in prompts:
        half = count_tokens(tokenizer, prompt) // 2
        batches.append([prompt, "", longest_text(tokenizer, half)])
    return [_request(tokenizer, batch) for batch in batches]


def memory_requests(tokenizer: Tokenizer, memory) -> list[dict]:
    """Makes requests that take a memory.

    Args:
        tokenizer: The tokenizer of the model.
        memory: The model's input.

    Returns:
        Dicts of arrays: the beginning of a conversation, a later piece of one,
        and three rows, one of them empty, with memories of several lengths.
        Of one number all over, memories take no room in files.
    """
    size = memory.shape[2]
    short, longer = SENTENCE[:_SHORT].rstrip(), SENTENCE
    cases = [
        ([short], [0]),
        ([longer], [size]),
        ([longer, "", short], [size // 2, 0, size]),
    ]
    made = []
    for texts, lengths in cases:
        request = text_request(tokenizer, texts)
        del request["text"]
        # Zeros tell that nothing is remembered, for those who read them.
        value = 0.5 if max(lengths) else 0.0
        made.append(
            {
                **request,
                "memory": np.full(
                    [len(texts), *memory.shape[1:]], value, memory.dtype
                ),
                "memory_length": np.array(lengths, np.int32),
            }
        )
    first = made[0]
    first["token_ids"] = np.pad(
        first["token_ids"], [[0, 0], [1, 0]], constant_values=BOS
    )
    first["length"] = first["length"] + 1
    return made


def bad_requests(vocabulary_size: int) -> dict[str, dict]:
    """Makes requests that the bundles must refuse.

    Args:
        vocabulary_size: Number of token ids.

    Returns:
        The `bad_requests` of the bundles "tokens" and "text".
    """
    unknown_id = unknown_id_request(vocabulary_size)
    too_cold = {
        "text": np.array([SENTENCE[:_SHORT].encode()], object),
        **_sampling(1),
        "temperature": np.array([-1.0], np.float32),
    }
    return {
        "tokens": {
            "a token id that is not in the vocabulary": ("generate", unknown_id)
        },
        "text": {"a temperature below zero": ("sample_text", too_cold)},
    }


def _request(tokenizer, prompts):
    return text_request(tokenizer, prompts) | _sampling(len(prompts))


def _sampling(num_rows):
    rows = np.arange(num_rows)
    return {
        "seed": np.stack([rows + 1, rows + 2], axis=1).astype(np.int32),
        "temperature": (0.5 + 0.5 * rows).astype(np.float32),
        "top_p": np.linspace(0.75, 1.0, num_rows, dtype=np.float32),
    }

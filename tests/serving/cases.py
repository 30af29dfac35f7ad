"""A tiny language model to serve, and what it must answer."""

import functools

import numpy as np
import tensorflow as tf

from keras_xf import models
from keras_xf import serving
from keras_xf.text import ByteTokenizer

VOCABULARY_SIZE = 261
PAD, UNK, BOS, EOS, MASK = range(5)
MAX_NEW_TOKENS = 5
SAMPLING = ("seed", "temperature", "top_p")


def make_model(**arguments):
    return models.build_language_model(
        **{
            "vocabulary_size": VOCABULARY_SIZE,
            "num_layers": 1,
            "hidden_dim": 16,
            "num_heads": 2,
            "intermediate_dim": 32,
            # Tied, an untrained model repeats its last token.
            "tied": False,
            "seed": 1,
            **arguments,
        }
    )


def make_bundles(model, **arguments):
    return serving.language_model_bundles(
        models.build_language_model_step(model),
        ByteTokenizer(),
        **{"max_new_tokens": MAX_NEW_TOKENS, "top_k": 20, **arguments},
    )


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@functools.cache
def compiled(model):
    return tf.function(model, reduce_retracing=True)


def whole_pass(model, token_ids):
    """Log-probabilities after each token of one sequence."""
    outputs = compiled(model)(
        {
            "token_ids": tf.constant([token_ids], tf.int32),
            "length": tf.constant([len(token_ids)], tf.int32),
        }
    )
    # Log-probabilities, where the model gives them, stay as they are.
    (logits,) = outputs.values()
    return log_softmax(logits)[0]


def greedy_oracle(model, prompt, max_new_tokens=MAX_NEW_TOKENS):
    """New tokens and their score, from a whole pass for each of them."""
    token_ids, score = [BOS, *prompt], 0.0
    for _ in range(max_new_tokens):
        log_probs = whole_pass(model, token_ids)[-1]
        allowed = log_probs.copy()
        allowed[[PAD, UNK, BOS, MASK]] = -np.inf
        chosen = int(allowed.argmax())
        score += log_probs[chosen]
        if chosen == EOS:
            break
        token_ids.append(chosen)
    return token_ids[1 + len(prompt) :], score


def score_oracle(model, token_ids):
    log_probs = whole_pass(model, [BOS, *token_ids[:-1]])
    return [log_probs[place, token] for place, token in enumerate(token_ids)]


def assert_is_greedy(results, row, model, prompt):
    new_tokens, score = greedy_oracle(model, prompt)
    padding = [PAD] * (MAX_NEW_TOKENS - len(new_tokens))
    assert results["token_ids"][row, 0].tolist() == new_tokens + padding
    assert results["length"][row, 0] == len(new_tokens)
    np.testing.assert_allclose(results["score"][row, 0], score, atol=1e-5)


def assert_alike(actual, expected):
    assert actual.keys() == expected.keys()
    for name in expected:
        if np.asarray(expected[name]).dtype.kind == "f":
            np.testing.assert_allclose(
                actual[name], expected[name], rtol=1e-5, atol=1e-5
            )
        else:
            np.testing.assert_array_equal(actual[name], expected[name])


def run(signature, request):
    """Runs a signature; strings come back as arrays of bytes."""
    outputs = signature(
        **{name: tf.constant(value) for name, value in request.items()}
    )
    arrays = {name: value.numpy() for name, value in outputs.items()}
    return {
        name: value.astype(bytes) if value.dtype == object else value
        for name, value in arrays.items()
    }


def request_of(**changes):
    """A request of two rows, as lists, with all that `sample` takes."""
    request = {
        "token_ids": [[70, 71, 72], [73, 74, 75]],
        "length": [3, 1],
        "seed": [[1, 2], [3, 4]],
        "temperature": [1.0, 1.0],
        "top_p": [1.0, 1.0],
    }
    return {**request, **changes}

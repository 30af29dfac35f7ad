"""Tests of keras_xf.serving.served_tokens and served_text, live."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf import serving
from keras_xf.text import ByteTokenizer
from tests.serving.cases import SAMPLING
from tests.serving.cases import assert_alike
from tests.serving.cases import assert_is_greedy
from tests.serving.cases import make_bundles
from tests.serving.cases import make_model
from tests.serving.cases import request_of
from tests.serving.cases import run
from tests.serving.cases import score_oracle


@pytest.fixture(scope="module")
def model():
    return make_model(positions="rotary")


@pytest.fixture(scope="module")
def limited_model():
    """A model of ten positions, of which new tokens take five."""
    return make_model(positions="learned", max_length=10)


@pytest.fixture(scope="module")
def limited_bundles(limited_model):
    return make_bundles(limited_model)


@pytest.mark.parametrize(
    ("positions", "norm_first", "cutoffs"),
    [
        ("learned", True, ()),
        ("learned", False, ()),
        ("sinusoidal", True, ()),
        ("sinusoidal", False, ()),
        ("learned", True, (72, 100)),
    ],
)
def test_every_kind_of_model_is_served(positions, norm_first, cutoffs):
    model = make_model(
        positions=positions,
        norm_first=norm_first,
        cutoffs=cutoffs,
        max_length=8 if positions == "learned" else None,
    )
    tokens = make_bundles(model)["tokens"]
    token_ids = np.array([[70, 71, 72], [73, 0, 0]], "int32")
    request = {"token_ids": token_ids, "length": np.array([3, 1], "int32")}
    results = run(tokens.signatures["generate"].python_function, request)
    assert_is_greedy(results, 0, model, [70, 71, 72])
    assert_is_greedy(results, 1, model, [73])
    results = run(tokens.signatures["score"].python_function, request)
    expected = score_oracle(model, [70, 71, 72])
    np.testing.assert_allclose(results["log_probs"][0], expected, atol=1e-5)


def test_the_longest_prompt_that_fits_is_continued(
    limited_bundles, limited_model
):
    prompt = [70, 71, 72, 73, 74]
    # Padding beyond all positions, as a server makes it, does no harm.
    token_ids = np.array([prompt + [70] * 12], "int32")
    results = run(
        limited_bundles["tokens"].signatures["generate"].python_function,
        {"token_ids": token_ids, "length": np.array([5], "int32")},
    )
    assert_is_greedy(results, 0, limited_model, prompt)


def test_the_longest_sequence_that_fits_is_scored(
    limited_bundles, limited_model
):
    sequence = list(range(70, 80))
    token_ids = np.array([sequence + [70] * 12], "int32")
    results = run(
        limited_bundles["tokens"].signatures["score"].python_function,
        {"token_ids": token_ids, "length": np.array([10], "int32")},
    )
    np.testing.assert_allclose(
        results["log_probs"][0, :10],
        score_oracle(limited_model, sequence),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "signature", "request_", "message"),
    [
        (
            "tokens",
            "generate",
            {
                "token_ids": np.full((2, 6), 70, "int32"),
                "length": np.array([5, 6], "int32"),
            },
            "[`token_ids` must have a length of at most 5 tokens. "
            "Received:] [6]",
        ),
        (
            "tokens",
            "score",
            {
                "token_ids": np.full((1, 11), 70, "int32"),
                "length": np.array([11], "int32"),
            },
            "[`token_ids` must have a length of at most 10 tokens. "
            "Received:] [11]",
        ),
        (
            "text",
            "generate_text",
            {"text": np.array([b"abc", b"abcdef"])},
            "[`text` must have a length of at most 5 tokens. Received:] [6]",
        ),
    ],
)
def test_longer_ones_are_refused(
    limited_bundles, name, signature, request_, message
):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(limited_bundles[name].traced[signature], request_)
    assert f"assertion failed: {message}\n" in error.value.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"max_new_tokens": 10},
            "`max_new_tokens` must leave the model positions for prompts of "
            "`max_prompt_length`, at least one. Received: max_new_tokens=10, "
            "max_prompt_length=None, max_length=10.",
        ),
        (
            {"max_prompt_length": 6},
            "`max_new_tokens` must leave the model positions for prompts of "
            "`max_prompt_length`, at least one. Received: max_new_tokens=5, "
            "max_prompt_length=6, max_length=10.",
        ),
    ],
)
def test_limits_that_do_not_fit_are_refused(limited_model, arguments, message):
    with pytest.raises(ValueError) as error:
        make_bundles(limited_model, **arguments)
    assert str(error.value) == message


def test_the_limits_told_are_those_that_hold(limited_bundles, model):
    for bundle in limited_bundles.values():
        assert bundle.limits == {
            "max_new_tokens": 5,
            "max_prompt_length": 5,
            "max_length": 10,
            "top_k": 20,
            "vocabulary_size": 261,
        }
    bundle = make_bundles(model, top_k=None)["tokens"]
    assert bundle.limits == {
        "max_new_tokens": 5,
        "max_prompt_length": None,
        "max_length": None,
        "top_k": None,
        "vocabulary_size": 261,
    }


def test_a_limit_below_the_models_is_kept(model):
    tokens = make_bundles(model, max_prompt_length=2)["tokens"]
    function = tokens.signatures["generate"].python_function
    request = {
        "token_ids": np.full((1, 3), 70, "int32"),
        "length": np.array([2], "int32"),
    }
    run(function, request)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(function, {**request, "length": np.array([3], "int32")})
    assert (
        "`token_ids` must have a length of at most 2 tokens. Received:"
        in error.value.message
    )


def test_top_k_of_one_leaves_the_best_token(model):
    tokens = make_bundles(model, top_k=1)["tokens"].signatures
    request = request_of()
    request = {
        name: np.array(request[name], spec.dtype.as_numpy_dtype)
        for name, spec in zip(
            request, tokens["sample"].input_signature, strict=True
        )
    }
    drawn = run(tokens["sample"].python_function, request)
    for name in SAMPLING:
        del request[name]
    assert_alike(drawn, run(tokens["generate"].python_function, request))


class TwoLetters(ByteTokenizer):
    """A tokenizer of another vocabulary."""

    vocabulary_size = 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"max_new_tokens": 0},
            "`max_new_tokens` must be positive. Received: max_new_tokens=0.",
        ),
        (
            {"top_k": 0},
            "`top_k` must be None or positive. Received: top_k=0.",
        ),
        (
            {"max_prompt_length": 0},
            "`max_prompt_length` must be None or positive. "
            "Received: max_prompt_length=0.",
        ),
        (
            {"tokenizer": TwoLetters()},
            "`tokenizer` must have the vocabulary of the model. "
            "Received: tokenizer=7, model=261.",
        ),
    ],
)
def test_rejects(model, arguments, message):
    with pytest.raises(ValueError) as error:
        serving.language_model_bundles(
            models.build_language_model_step(model),
            **{"tokenizer": ByteTokenizer(), **arguments},
        )
    assert str(error.value) == message

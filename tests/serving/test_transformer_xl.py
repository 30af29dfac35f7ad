"""Tests of keras_xf.serving.transformer_xl_bundles, live and published."""

import concurrent.futures
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf import serving
from keras_xf.contract.meta_graph import signature_table
from keras_xf.contract.warm_up import read_warm_up
from keras_xf.serving import transformer_xl
from keras_xf.text import ByteTokenizer
from tests.serving.cases import BOS
from tests.serving.cases import EOS
from tests.serving.cases import MASK
from tests.serving.cases import MAX_NEW_TOKENS
from tests.serving.cases import PAD
from tests.serving.cases import UNK
from tests.serving.cases import VOCABULARY_SIZE
from tests.serving.cases import assert_alike
from tests.serving.cases import compiled
from tests.serving.cases import run

WINDOW = 6
LAYERS, DIM = 2, 16
# Longer than the reach of two layers.
TEXT = [BOS, *range(70, 100), 70, 75, 90, 70, 71]


def make_model(**arguments):
    return models.build_transformer_xl(
        **{
            "vocabulary_size": VOCABULARY_SIZE,
            "num_layers": LAYERS,
            "hidden_dim": DIM,
            "num_heads": 2,
            "intermediate_dim": 32,
            "memory_length": WINDOW,
            # Large, or what is remembered would hardly show.
            "initializer_stddev": 0.5,
            "seed": 1,
            **arguments,
        }
    )


def make_bundles(model, **arguments):
    return serving.transformer_xl_bundles(
        model, ByteTokenizer(), max_new_tokens=MAX_NEW_TOKENS, **arguments
    )


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def windowed(model):
    return models.transformer_xl_variant(model, attention_window=WINDOW)


@pytest.fixture(scope="module")
def bundles(model):
    with pytest.MonkeyPatch.context() as patch:
        # So that rows here have several.
        patch.setattr(transformer_xl, "_SEGMENT_LENGTH", 4)
        yield make_bundles(model, top_k=20)


@pytest.fixture(scope="module")
def folder(bundles, tmp_path_factory):
    """Published only if it keeps the contract, run as a server would."""
    export_dir = tmp_path_factory.mktemp("served")
    # Drawing takes the steps of `generate`, which would be traced again.
    bundle = bundles["tokens"]
    signatures, requests = (
        {name: some[name] for name in some if name != "sample"}
        for some in (bundle.signatures, bundle.requests)
    )
    bundle = dataclasses.replace(
        bundle, signatures=signatures, requests=requests, random_signatures=()
    )
    serving.publish({"tokens": bundle}, export_dir)
    return export_dir / "tokens" / "1"


@pytest.fixture(scope="module")
def loaded(folder):
    return tf.saved_model.load(folder)


def nothing(num_rows):
    """What is remembered at first, whatever the memory holds."""
    return {
        # Not even numbers.
        "memory": np.full([num_rows, LAYERS, WINDOW, DIM], np.nan, "float32"),
        "memory_length": np.zeros([num_rows], "int32"),
    }


def one_pass(windowed, token_ids):
    """Log-probabilities after each token of one sequence."""
    outputs = compiled(windowed)(
        {
            "token_ids": tf.constant([token_ids], tf.int32),
            "length": tf.constant([len(token_ids)], tf.int32),
            **{
                name: tf.constant(np.nan_to_num(value))
                for name, value in nothing(1).items()
            },
        }
    )
    return outputs["log_probs"][0].numpy()


def padded(rows, padding=7):
    width = max(1, *map(len, rows))
    return {
        "token_ids": np.array(
            [[*row, *[padding] * (width - len(row))] for row in rows], "int32"
        ),
        "length": np.array([len(row) for row in rows], "int32"),
    }


def read(step, texts, cuts):
    """Reads texts, each cut at its places, as rows of the same requests."""
    parts = [
        [list(part) for part in np.split(text, cut)]
        for text, cut in zip(texts, cuts, strict=True)
    ]
    most = max(map(len, parts))
    remembered = nothing(len(texts))
    log_probs = [[] for _ in texts]
    for turn in range(most):
        rows = [row[turn] if turn < len(row) else [] for row in parts]
        outputs = run(step, padded(rows) | remembered)
        for row, values in enumerate(outputs.pop("log_probs")):
            assert not values[len(rows[row]) :].any()
            log_probs[row].append(values[: len(rows[row])])
        remembered = outputs
    return [np.concatenate(some) for some in log_probs], remembered


def greedy_oracle(windowed, prompt):
    token_ids, score = [BOS, *prompt], 0.0
    for _ in range(MAX_NEW_TOKENS):
        log_probs = one_pass(windowed, token_ids)[-1]
        allowed = log_probs.copy()
        allowed[[PAD, UNK, BOS, MASK]] = -np.inf
        chosen = int(allowed.argmax())
        score += log_probs[chosen]
        if chosen == EOS:
            break
        token_ids.append(chosen)
    return token_ids[1 + len(prompt) :], score


def test_a_text_may_be_cut_anyhow(loaded, windowed):
    step = loaded.signatures["lm_step"]
    texts = [TEXT, TEXT[:20], TEXT[:1] + TEXT[9:]]
    whole, remembered = read(step, texts, [[], [], []])
    for text, log_probs in zip(texts, whole, strict=True):
        np.testing.assert_allclose(
            log_probs, one_pass(windowed, text), rtol=1e-5, atol=1e-5
        )
    generator = np.random.default_rng(0)
    for count in (1, 3, 8):
        cuts = [
            # Twice at one place: a part may be empty.
            np.sort(generator.integers(0, len(text) + 1, count))
            for text in texts
        ]
        log_probs, state = read(step, texts, cuts)
        for some, expected in zip(log_probs, whole, strict=True):
            np.testing.assert_allclose(some, expected, rtol=1e-5, atol=1e-5)
        assert_alike(state, remembered)
    # Else this would test nothing: the memory does matter.
    fresh, _ = read(step, [TEXT[30:]], [[]])
    assert np.abs(fresh[0] - whole[0][30:]).max() > 0.1


def test_conversations_in_two_threads_do_not_mix(loaded):
    step = loaded.signatures["lm_step"]
    texts = [TEXT, TEXT[:1] + TEXT[:4:-1]]

    def talk(text):
        # Token by token, which are many requests.
        return read(step, [text], [range(1, len(text))])

    alone = [talk(text) for text in texts]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        together = list(pool.map(talk, texts))
    for (log_probs, state), (expected, remembered) in zip(
        together, alone, strict=True
    ):
        np.testing.assert_array_equal(log_probs[0], expected[0])
        assert_alike(state, remembered)


def test_score_is_that_of_one_pass_and_of_the_steps(loaded, windowed):
    rows = [TEXT[1:], [], TEXT[3:5]]
    request = padded(rows)
    results = run(loaded.signatures["score"], request)
    expected = np.zeros(request["token_ids"].shape)
    for row, text in enumerate(rows):
        log_probs = one_pass(windowed, [BOS, *text])
        for place, token in enumerate(text):
            expected[row, place] = log_probs[place, token]
    np.testing.assert_allclose(results["log_probs"], expected, atol=1e-5)
    np.testing.assert_allclose(
        results["score"], expected.sum(axis=1), rtol=1e-5, atol=1e-5
    )


def test_prompts_of_any_length_continue_as_by_whole_passes(loaded, windowed):
    prompts = [TEXT[1:], [], TEXT[5:9]]
    results = run(loaded.signatures["generate"], padded(prompts))
    for row, prompt in enumerate(prompts):
        new_tokens, score = greedy_oracle(windowed, prompt)
        padding = [PAD] * (MAX_NEW_TOKENS - len(new_tokens))
        assert results["token_ids"][row, 0].tolist() == new_tokens + padding
        np.testing.assert_allclose(results["score"][row, 0], score, atol=1e-5)


def test_rows_of_no_tokens_change_nothing(loaded):
    step = loaded.signatures["lm_step"]
    request = {
        "token_ids": np.zeros([2, 0], "int32"),
        "length": np.zeros([2], "int32"),
        "memory": np.ones([2, LAYERS, WINDOW, DIM], "float32"),
        "memory_length": np.array([WINDOW, 2], "int32"),
    }
    outputs = run(step, request)
    assert outputs["log_probs"].shape == (2, 0, VOCABULARY_SIZE)
    np.testing.assert_array_equal(outputs["memory_length"], [WINDOW, 2])
    assert outputs["memory"][0].all()
    assert outputs["memory"][1, :, -2:].all()
    none = {name: value[:0] for name, value in request.items()}
    assert all(len(value) == 0 for value in run(step, none).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"token_ids": [[70, 261, 72], [-1, 74, 75]]},
            "[`token_ids` must lie in [0, 261). Received:] [261 -1]",
        ),
        (
            {"length": [4, -1]},
            "[`length` must lie between 0 and the width of `token_ids`. "
            "Received:] [4 -1] [width:] [3]",
        ),
        (
            {"memory_length": [7, -1]},
            "[`memory_length` must lie between 0 and 6. Received:] [7 -1]",
        ),
        (
            {"memory": np.zeros([3, LAYERS, WINDOW, DIM])},
            "[`memory` must have as many rows as `token_ids`. "
            "Received:] [3] [2]",
        ),
        (
            {"memory_length": [1]},
            "[`memory_length` must have as many rows as `token_ids`. "
            "Received:] [1] [2]",
        ),
    ],
)
def test_bad_requests_are_told_what_is_wrong(loaded, changes, message):
    request = {
        "token_ids": [[70, 71, 72], [73, 74, 75]],
        "length": [3, 1],
        **nothing(2),
        **changes,
    }
    dtypes = {"memory": "float32"}
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run(
            loaded.signatures["lm_step"],
            {
                name: np.array(value, dtypes.get(name, "int32"))
                for name, value in request.items()
            },
        )
    assert f"assertion failed: {message}\n" in error.value.message


def test_signatures_are_these(folder):
    tokens = {
        "token_ids": {"dtype": "int32", "shape": [None, None]},
        "length": {"dtype": "int32", "shape": [None]},
    }
    remembered = {
        "memory": {"dtype": "float32", "shape": [None, LAYERS, WINDOW, DIM]},
        "memory_length": {"dtype": "int32", "shape": [None]},
    }
    table = signature_table(folder)
    assert table["lm_step"] == {
        "inputs": tokens | remembered,
        "outputs": {
            "log_probs": {
                "dtype": "float32",
                "shape": [None, None, VOCABULARY_SIZE],
            },
            **remembered,
        },
    }
    assert table["serving_default"] == table["generate"]
    assert table["score"]["inputs"] == tokens
    # A server learns of `lm_step` before it serves, from nothing on.
    first, *_ = [r for r in read_warm_up(folder) if r.signature == "lm_step"]
    assert first.inputs["token_ids"][0, 0] == BOS
    assert not first.inputs["memory"].any()
    assert first.inputs["memory_length"].tolist() == [0]


def test_text_goes_on_as_its_tokens_do(bundles, loaded):
    # Not saved, as tokens are: it takes the same steps.
    text = bundles["text"].traced["generate_text"]
    results = run(text, {"text": np.array([b"abc", b""])})
    del results["text"]
    expected = run(
        loaded.signatures["generate"],
        padded([ByteTokenizer().encode_bytes(b"abc").tolist(), []]),
    )
    assert_alike(results, expected)
    assert bundles["text"].signatures.keys() == {
        "generate_text",
        "sample_text",
        "serving_default",
    }


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({}, {}, (6, 6, None)),
        ({"attention_window": 3, "clamp_length": 5}, {}, (6, 3, 5)),
        ({}, {"memory_length": 9, "clamp_length": 8}, (9, 9, 8)),
        ({}, {"memory_length": 9, "attention_window": 10}, (9, 10, None)),
        ({"attention_window": 3}, {"memory_length": 2}, (2, 3, None)),
    ],
)
def test_memory_and_window_are_those_told(own, given, expected):
    bundles = make_bundles(make_model(**own), **given)
    for bundle in bundles.values():
        assert bundle.limits == {
            "max_new_tokens": MAX_NEW_TOKENS,
            "max_prompt_length": None,
            "max_length": None,
            "top_k": None,
            "vocabulary_size": VOCABULARY_SIZE,
            **dict(
                zip(
                    ("memory_length", "attention_window", "clamp_length"),
                    expected,
                    strict=True,
                )
            ),
        }
    (*_, specs, _) = bundles["tokens"].signatures["lm_step"].input_signature
    assert specs.shape[2] == expected[0]


@pytest.mark.parametrize(
    ("own", "given", "message"),
    [
        (
            {"memory_length": 0},
            {},
            "`memory_length` must be positive for a model without an "
            "`attention_window`: it is the window then. "
            "Received: memory_length=0.",
        ),
        (
            {},
            {"attention_window": 8},
            "`memory_length` must be at least `attention_window` - 1, or "
            "results would depend on how a text is cut. "
            "Received: memory_length=6, attention_window=8.",
        ),
        (
            {},
            {"attention_window": 0},
            "`attention_window` must be positive. "
            "Received: attention_window=0.",
        ),
    ],
)
def test_rejects(own, given, message):
    with pytest.raises(ValueError) as error:
        make_bundles(make_model(**own), **given)
    assert str(error.value) == message

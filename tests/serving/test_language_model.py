"""Tests of keras_xf.serving.language_model_bundles, live and published."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import serving
from tests.serving import replay
from tests.serving.cases import MAX_NEW_TOKENS
from tests.serving.cases import SAMPLING
from tests.serving.cases import VOCABULARY_SIZE
from tests.serving.cases import assert_alike
from tests.serving.cases import assert_is_greedy
from tests.serving.cases import make_bundles
from tests.serving.cases import make_model
from tests.serving.cases import request_of
from tests.serving.cases import run
from tests.serving.cases import score_oracle

# Every combination of these is one request.
BATCH_SIZES = (1, 2, 5)
WIDTHS = (0, 3, 8)


def make_requests():
    """Requests by (signature, case) for all batch sizes and widths."""
    generator = np.random.default_rng(0)
    requests = {}
    for batch_size in BATCH_SIZES:
        for width in WIDTHS:
            length = generator.integers(0, width + 1, batch_size, "int32")
            # One row fills the width, as a client would have it.
            length[0] = width
            token_ids = generator.integers(
                5, VOCABULARY_SIZE, (batch_size, width), "int32"
            )
            tokens = {"token_ids": token_ids, "length": length}
            text = {
                "text": np.array(
                    [
                        bytes((row[:size] - 5).tolist()).rstrip(b"\0")
                        for row, size in zip(token_ids, length, strict=True)
                    ]
                )
            }
            sampling = {
                "seed": generator.integers(-9, 9, (batch_size, 2), "int32"),
                "temperature": np.linspace(
                    0.0, 1.5, batch_size, dtype="float32"
                ),
                "top_p": np.linspace(1.0, 0.5, batch_size, dtype="float32"),
            }
            case = f"{batch_size}x{width}"
            requests["tokens/1", "generate", case] = tokens
            requests["tokens/1", "sample", case] = tokens | sampling
            requests["tokens/1", "score", case] = tokens
            requests["text/1", "generate_text", case] = text
            requests["text/1", "sample_text", case] = text | sampling
    return requests


@pytest.fixture(scope="module")
def model():
    return make_model(positions="rotary")


@pytest.fixture(scope="module")
def bundles(model):
    return make_bundles(model)


@pytest.fixture(scope="module")
def export_dir(bundles, tmp_path_factory):
    export_dir = tmp_path_factory.mktemp("served")
    # Running it as a server would is a test of its own, elsewhere.
    serving.publish(bundles, export_dir, run_as_served=False)
    return export_dir


@pytest.fixture(scope="module")
def loaded(export_dir):
    return {
        name: tf.saved_model.load(export_dir / name / "1")
        for name in ("tokens", "text")
    }


@pytest.fixture(scope="module")
def served(export_dir, tmp_path_factory):
    """Results of `make_requests` in a process that cannot import keras_xf."""
    folder = tmp_path_factory.mktemp("replay")
    arrays = {
        "|".join([*call, name]): value
        for call, request in make_requests().items()
        for name, value in request.items()
    }
    np.savez(folder / "requests.npz", **arrays)
    command = [sys.executable, "-I", replay.__file__, export_dir]
    command += [folder / "requests.npz", folder / "results.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = {call: {} for call in make_requests()}
    with np.load(folder / "results.npz") as arrays:
        for name in arrays.files:
            *call, tensor = name.split("|")
            results[tuple(call)][tensor] = arrays[name]
    return results


def test_every_served_result_is_that_of_the_live_bundle(bundles, served):
    for (version, signature, case), request in make_requests().items():
        live = bundles[Path(version).parent.name].traced[signature]
        expected = run(live, request)
        assert_alike(served[version, signature, case], expected)


def test_served_generate_takes_the_best_token_of_a_whole_pass(model, served):
    for (_, signature, case), request in make_requests().items():
        if signature != "generate":
            continue
        results = served["tokens/1", signature, case]
        for row, size in enumerate(request["length"]):
            prompt = request["token_ids"][row, :size].tolist()
            assert_is_greedy(results, row, model, prompt)


def test_served_score_is_that_of_a_whole_pass(model, served):
    for (_, signature, case), request in make_requests().items():
        if signature != "score":
            continue
        results = served["tokens/1", signature, case]
        expected = np.zeros(request["token_ids"].shape)
        for row, size in enumerate(request["length"]):
            token_ids = request["token_ids"][row, :size].tolist()
            expected[row, :size] = score_oracle(model, token_ids)
        np.testing.assert_allclose(results["log_probs"], expected, atol=1e-5)
        np.testing.assert_allclose(
            results["score"], expected.sum(axis=1), atol=1e-5
        )


def test_served_text_is_what_the_bytes_of_the_ids_spell(served):
    for (_, signature, case), request in make_requests().items():
        if not signature.endswith("_text"):
            continue
        results = served["text/1", signature, case]
        for row in range(len(request["text"])):
            size = results["length"][row, 0]
            data = bytes((results["token_ids"][row, 0, :size] - 5).tolist())
            spelled = data.decode(errors="replace").rstrip("\0")
            assert results["text"][row, 0].decode() == spelled


def test_served_text_reads_a_prompt_as_its_bytes(loaded):
    tokens = run(
        loaded["tokens"].signatures["generate"],
        {
            "token_ids": np.array([[b + 5 for b in "né".encode()]], "int32"),
            "length": np.array([3], "int32"),
        },
    )
    text = run(
        loaded["text"].signatures["generate_text"], {"text": ["né".encode()]}
    )
    del text["text"]
    assert_alike(text, tokens)


def test_signatures_are_these():
    # Names, dtypes and shapes are what clients build on.
    tokens = {
        "token_ids": (tf.int32, [None, None]),
        "length": (tf.int32, [None]),
    }
    text = {"text": (tf.string, [None])}
    sampling = {
        "seed": (tf.int32, [None, 2]),
        "temperature": (tf.float32, [None]),
        "top_p": (tf.float32, [None]),
    }
    generated = {
        "token_ids": (tf.int32, [None, 1, MAX_NEW_TOKENS]),
        "length": (tf.int32, [None, 1]),
        "score": (tf.float32, [None, 1]),
    }
    written = {**generated, "text": (tf.string, [None, 1])}
    scored = {
        "log_probs": (tf.float32, [None, None]),
        "score": (tf.float32, [None]),
    }
    expected = {
        "tokens": {
            "serving_default": (tokens, generated),
            "generate": (tokens, generated),
            "sample": (tokens | sampling, generated),
            "score": (tokens, scored),
        },
        "text": {
            "serving_default": (text, written),
            "generate_text": (text, written),
            "sample_text": (text | sampling, written),
        },
    }

    def table(specs):
        return {
            name: (spec.dtype, spec.shape.as_list())
            for name, spec in specs.items()
        }

    # A model of mixed precision serves the same dtypes.
    bundles = make_bundles(make_model(dtype="mixed_bfloat16"))
    for name, signatures in expected.items():
        traced = bundles[name].traced
        assert traced.keys() == signatures.keys()
        for signature, (inputs, outputs) in signatures.items():
            function = traced[signature]
            specs, _ = function.structured_input_signature
            assert table({spec.name: spec for spec in specs}) == inputs
            assert table(function.structured_outputs) == outputs


def test_only_the_model_s_variables_are_saved(bundles, model):
    for bundle in bundles.values():
        saved = {id(variable) for variable in bundle.module.variables}
        assert saved == {id(variable.value) for variable in model.variables}


def test_serving_default_is_generate(loaded):
    for name, signature in [("tokens", "generate"), ("text", "generate_text")]:
        request = make_requests()[f"{name}/1", signature, "5x8"]
        signatures = loaded[name].signatures
        assert_alike(
            run(signatures["serving_default"], request),
            run(signatures[signature], request),
        )


def test_a_batch_of_no_rows_gives_no_rows(loaded):
    requests = make_requests()
    for (version, signature, case), request in requests.items():
        if case == "2x3":
            none = {name: value[:0] for name, value in request.items()}
            function = loaded[version.split("/")[0]].signatures[signature]
            assert all(
                len(value) == 0 for value in run(function, none).values()
            )


def as_the_server_joins(requests, batch_size):
    """Joins requests of a row each, like TF Serving's batcher.

    Each tensor is padded at its end with its own first element; rows that the
    allowed batch size asks for are copies of a real one.
    """
    joined = {}
    for name in requests[0]:
        rows = [request[name] for request in requests]
        if rows[0].ndim == 2:
            width = max(row.shape[1] for row in rows)
            rows = [
                np.pad(
                    row,
                    [(0, 0), (0, width - row.shape[1])],
                    constant_values=row.flat[0],
                )
                for row in rows
            ]
        rows += [rows[0]] * (batch_size - len(rows))
        joined[name] = np.concatenate(rows)
    return joined


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("tokens", "generate"),
        ("tokens", "sample"),
        ("tokens", "score"),
        ("text", "generate_text"),
        ("text", "sample_text"),
    ],
)
def test_requests_joined_by_a_server_get_their_own_results(
    loaded, name, signature
):
    function = loaded[name].signatures[signature]
    requests = []
    for width, size in [(4, 4), (7, 2), (1, 1)]:
        # The first element, which pads, is none that a mask could be made of.
        token_ids = np.arange(70, 70 + width, dtype="int32")[np.newaxis]
        request = {
            "token_ids": token_ids,
            "length": np.array([size], "int32"),
            "text": np.array([bytes(range(65, 65 + size))]),
            "seed": np.array([[size, 5]], "int32"),
            "temperature": np.array([1.5], "float32"),
            "top_p": np.array([0.9], "float32"),
        }
        inputs = function.structured_input_signature[1]
        requests.append({key: request[key] for key in inputs})
    joined = run(function, as_the_server_joins(requests, batch_size=5))
    for row, request in enumerate(requests):
        alone = run(function, request)
        own = {key: value[row : row + 1] for key, value in joined.items()}
        if "log_probs" in own:
            width = request["token_ids"].shape[1]
            assert not own["log_probs"][:, width:].any()
            own["log_probs"] = own["log_probs"][:, :width]
        assert_alike(own, alone)


@pytest.mark.parametrize("signature", ["generate", "score"])
def test_ids_behind_the_length_may_be_any(loaded, signature):
    function = loaded["tokens"].signatures[signature]
    # The longer row keeps the padding of the shorter one from being cut off.
    length = np.array([2, 4], "int32")
    clean = np.array([[70, 71, 0, 0], [72, 73, 74, 75]], "int32")
    wild = np.array([[70, 71, -7, 2**31 - 1], [72, 73, 74, 75]], "int32")
    assert_alike(
        run(function, {"token_ids": wild, "length": length}),
        run(function, {"token_ids": clean, "length": length}),
    )


def test_text_that_is_no_utf_8_gets_text_that_is(loaded):
    results = run(
        loaded["text"].signatures["sample_text"],
        {
            "text": np.array([b"\xff\xfe", b"\xc3", b"\xe2\x82"] * 20),
            "seed": np.arange(120, dtype="int32").reshape(60, 2),
            "temperature": np.full(60, 5.0, "float32"),
            "top_p": np.ones(60, "float32"),
        },
    )
    texts = [text.decode() for text in results["text"][:, 0]]
    # Of random bytes some were no UTF-8: else this would test nothing.
    assert any("\ufffd" in text for text in texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"token_ids": [[70, 261, 72], [-1, 74, 75]]},
            "[`token_ids` must lie in [0, 261). Received:] [261 -1]",
        ),
        (
            {"length": [4, 1]},
            "[`length` must lie between 0 and the width of `token_ids`. "
            "Received:] [4] [width:] [3]",
        ),
        (
            {"length": [3, -1]},
            "[`length` must lie between 0 and the width of `token_ids`. "
            "Received:] [-1] [width:] [3]",
        ),
        (
            {"length": [3, 3, 3]},
            "[`length` must have as many rows as `token_ids`. "
            "Received:] [3] [2]",
        ),
        (
            {"seed": [[1, 2]]},
            "[`seed` must have as many rows as `token_ids`. Received:] [1] [2]",
        ),
        (
            {"temperature": [1.0]},
            "[`temperature` must have as many rows as `token_ids`. "
            "Received:] [1] [2]",
        ),
        (
            {"top_p": [1.0, 1.0, 1.0]},
            "[`top_p` must have as many rows as `token_ids`. "
            "Received:] [3] [2]",
        ),
        (
            {"temperature": [1.0, -1.0]},
            "[`temperature` must be finite and not negative. Received:] [1 -1]",
        ),
        (
            {"top_p": [0.0, 1.0]},
            "[`top_p` must lie in (0, 1]. Received:] [0 1]",
        ),
    ],
)
def test_bad_requests_are_told_what_is_wrong(loaded, changes, message):
    request = request_of(**changes)
    messages = []
    for signature in ("generate", "sample", "score"):
        function = loaded["tokens"].signatures[signature]
        inputs = function.structured_input_signature[1]
        if not changes.keys() <= inputs.keys():
            continue
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            run(
                function,
                {
                    name: np.array(request[name], spec.dtype.as_numpy_dtype)
                    for name, spec in inputs.items()
                },
            )
        messages.append(error.value.message)
    assert messages
    for text in messages:
        assert f"assertion failed: {message}\n" in text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "seed",
            [[1, 2]],
            "[`seed` must have as many rows as `text`. Received:] [1] [2]",
        ),
        (
            "temperature",
            [np.nan, 1.0],
            "[`temperature` must be finite and not negative. "
            "Received:] [nan 1]",
        ),
    ],
)
def test_bad_text_requests_are_told_what_is_wrong(loaded, name, value, message):
    request = request_of(**{name: value})
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        loaded["text"].signatures["sample_text"](
            text=tf.constant(["a", "b"]),
            **{key: tf.constant(request[key]) for key in SAMPLING},
        )
    assert f"assertion failed: {message}\n" in error.value.message

"""Tests of export.saved_model on the run directory of a classifier."""

import json
import shutil

import numpy as np
import pytest

from export import saved_model
from keras_xf import models
from keras_xf.models.reversible_stack import blocks_of
from keras_xf.text import ByteTokenizer
from tests.serving.cases import log_softmax
from tests.serving.cases import run

DESCRIPTION = {
    "builder": "build_reformer_encoder",
    "arguments": {
        "vocabulary_size": 261,
        "num_classes": 2,
        "max_length": 8,
        "hidden_dim": 16,
        "num_heads": 2,
        "intermediate_dim": 16,
        "attention": ["lsh"],
        "chunk_length": 2,
        "seed": 1,
    },
}


@pytest.fixture(scope="module")
def model():
    return models.build(DESCRIPTION)


@pytest.fixture(scope="module")
def run_dir(model, tmp_path_factory):
    """What a training leaves, as far as export reads it."""
    run_dir = tmp_path_factory.mktemp("classifier")
    (run_dir / "model.json").write_text(json.dumps(DESCRIPTION))
    (run_dir / "classes.txt").write_text("ant\nbee\n")
    model.save(run_dir / "model.keras")
    ByteTokenizer().save(run_dir / "text")
    return run_dir


@pytest.fixture
def options(run_dir, tmp_path):
    """Options of an export from a copy of the run directory."""
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    return {"run_dir": str(copy), "export_dir": str(tmp_path / "served")}


@pytest.fixture
def published(monkeypatch):
    """What is handed over to be published. That takes longer, elsewhere."""
    calls = []

    def publish(bundles, export_dir, **arguments):
        calls.append((bundles, arguments))
        return dict.fromkeys(bundles, export_dir)

    monkeypatch.setattr(saved_model.serving, "publish", publish)
    return calls


def logits_of(model, piece):
    token_ids = [2, *(byte + 5 for byte in piece)]  # BOS first.
    return model(
        {
            "token_ids": np.array([token_ids], "int32"),
            "length": np.array([len(token_ids)], "int32"),
        }
    )["logits"]


def test_the_classifier_of_the_run_is_published(options, published, model):
    saved_model.export(saved_model.Options(**options, max_text_length=20))
    ((bundles, arguments),) = published
    assert arguments["origin"]["model"] == DESCRIPTION
    assert arguments["origin"]["dtype_policies"] == ["float32"]
    assert arguments["run_as_served"]
    for bundle in bundles.values():
        assert bundle.names == {"classes.txt": ["ant", "bee"]}
        assert bundle.limits["max_text_length"] == 20
    # What is served draws nothing.
    ((attention, _),) = blocks_of(
        bundles["tokens"].module.model.get_layer("stack")
    )
    assert attention.layer.injected_rotations
    classify = bundles["text"].signatures["classify_text"].python_function
    texts = [b"abcdefg", b"abcdefghijk"]
    results = run(classify, {"text": np.array(texts)})
    # The second is longer than the model can see: cut in 5 and 6.
    for row, pieces in enumerate([[b"abcdefg"], [b"abcde", b"fghijk"]]):
        log_probs = [
            log_softmax(logits_of(model, piece))[0] for piece in pieces
        ]
        expected = log_softmax(np.mean(log_probs, axis=0))
        order = np.argsort(-expected)
        np.testing.assert_allclose(
            results["score"][row], expected[order], atol=1e-5
        )
        names = np.array([b"ant", b"bee"])
        assert results["label"][row].tolist() == names[order].tolist()


@pytest.mark.parametrize(
    ("flag", "value"),
    [("max_new_tokens", 3), ("max_prompt_length", 4), ("top_k", 5)],
)
def test_limits_of_language_models_are_refused(options, flag, value):
    with pytest.raises(ValueError) as error:
        saved_model.export(saved_model.Options(**options, **{flag: value}))
    assert str(error.value) == (
        f"`{flag}` must be left out for a model of this kind. "
        f"Received: builder='build_reformer_encoder', {flag}={value}."
    )


def test_a_limit_of_classifiers_is_refused_for_others(options, tmp_path):
    path = tmp_path / "run" / "model.json"
    description = {**DESCRIPTION, "builder": "build_language_model"}
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError) as error:
        saved_model.export(saved_model.Options(**options, max_text_length=9))
    assert str(error.value) == (
        "`max_text_length` must be left out for a model of this kind. "
        "Received: builder='build_language_model', max_text_length=9."
    )


def test_a_damaged_run_directory_is_told(options, tmp_path):
    run_dir = tmp_path / "run"

    def message():
        with pytest.raises(ValueError) as error:
            saved_model.export(saved_model.Options(**options))
        assert not (tmp_path / "served").exists()
        return str(error.value)

    (run_dir / "classes.txt").write_text("ant\n")
    assert message() == (
        "`classes` must have a name for each class of the model. "
        "Received: classes=1, model=2."
    )
    (run_dir / "classes.txt").unlink()
    assert message() == (
        "`run_dir` must hold a file classes.txt. "
        f"Received: run_dir={str(run_dir)!r}."
    )
    (run_dir / "classes.txt").write_text("ant\nbee\n")
    (run_dir / "model.json").write_text(
        '{"builder": "build_reformer_encoder", "arguments": {}}'
    )
    assert message() == (
        "`model.json` must hold the `max_length` of a classifier. "
        f"Received: path={str(run_dir / 'model.json')!r}, arguments={{}}."
    )

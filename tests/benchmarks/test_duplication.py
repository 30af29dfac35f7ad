"""Tests of benchmarks.duplication, on words of a few symbols."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import duplication
from benchmarks.duplication import Options

TINY = {
    "num_hashes": 1,
    "word_length": 7,
    "num_symbols": 8,
    "chunk_length": 4,
    "hidden_dim": 8,
    "num_heads": 2,
    "batch_size": 4,
    "train_steps": 4,
    "save_every_steps": 2,
    "warmup_steps": 2,
    "test_sequences": 8,
    "xla": False,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that was not stopped."""
    run_dir = tmp_path_factory.mktemp("whole")
    options = Options(run_dir=str(run_dir), **TINY)
    duplication.run(options)
    return options


def test_the_model_is_shown_what_it_shall_say():
    words = duplication.make_words(Options(run_dir="", **TINY), 3, 5)
    assert words.shape == (5, 7)
    assert words.min() >= 1
    assert words.max() <= 7
    inputs, targets = map(np.array, duplication.make_batch(tf.constant(words)))
    sequences = np.concatenate([inputs[:, 1:], words[:, -1:]], axis=1)
    for sequence, word, target in zip(sequences, words, targets, strict=True):
        np.testing.assert_array_equal(sequence, [0, *word, 0, *word])
        # The last inputs are those before each symbol of the second word.
        np.testing.assert_array_equal(target, word)
    np.testing.assert_array_equal(inputs[:, -7:], sequences[:, -8:-1])
    assert (inputs[:, 0] == 0).all()


@pytest.fixture
def eagerly():
    """Two trainings of few steps, which tracing would take longer than."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_a_stopped_training_ends_like_one_that_was_not(
    whole, eagerly, tmp_path, monkeypatch
):
    stopped = dataclasses.replace(whole, run_dir=str(tmp_path / "stopped"))
    advance = duplication._Training.advance

    def advance_once(training):
        advance(training)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(duplication._Training, "advance", advance_once)
    with pytest.raises(duplication.Stopped, match="at step 2:") as error:
        duplication.run(stopped)
    assert error.value.exit_code == 75
    monkeypatch.undo()
    duplication.run(stopped)
    losses = []
    for options in (whole, stopped):
        rows = (Path(options.run_dir) / "history.csv").read_text()
        head, *rows = [row.split(",")[:3] for row in rows.splitlines()]
        assert head == ["step", "loss", "accuracy"]
        assert [row[0] for row in rows] == ["2", "4"]
        losses.append([float(row[1]) for row in rows])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_each_attention_judges_the_same_weights(whole, monkeypatch, capsys):
    kinds = {duplication.ITSELF_TOO: 0, "full": 0, "LSH-2": 2}
    monkeypatch.setattr(duplication, "EVALUATED", kinds)
    duplication.run(dataclasses.replace(whole, evaluate=True))
    result = json.loads(capsys.readouterr().out)
    assert list(result) == list(kinds)
    assert all(0 <= share <= 1 for share in result.values())

    # By hand: the share of the best symbols among all.
    training = duplication._Training(whole)
    assert training.restore()
    words = duplication.make_words(whole, duplication.TEST_SEED, 8)
    model = duplication.build_model(whole, num_hashes=0)
    model.set_weights(training.model.get_weights())
    inputs, targets = duplication.make_batch(tf.constant(words))
    best = np.argmax(model.predict(inputs, verbose=0), axis=-1)
    assert result["full"] == pytest.approx(np.mean(best == targets), abs=1e-6)


def test_full_attention_sees_all_or_all_but_itself():
    options = Options(run_dir="", **TINY)
    inputs = np.random.default_rng(0).normal(size=(2, options.length, 8))
    inputs = inputs.astype("float32")
    models = [
        duplication.build_model(options, 0, itself_too)
        for itself_too in (False, True)
    ]
    for model, itself_too in zip(models, (False, True), strict=True):
        layer = model.get_layer("attention").layer
        query, value = (
            (inputs @ x.kernel.numpy()).reshape(2, -1, 2, 4).swapaxes(1, 2)
            for x in (layer.query_key, layer.value)
        )
        key = query / np.linalg.norm(query, axis=-1, keepdims=True)
        sees = np.tri(options.length, k=0 if itself_too else -1)
        # The first position has nothing else.
        sees[0, 0] = 1
        weights = np.exp(query @ key.swapaxes(2, 3)) * sees
        weights /= weights.sum(-1, keepdims=True)
        joined = (weights @ value).swapaxes(1, 2).reshape(2, -1, 8)
        np.testing.assert_allclose(
            layer(inputs),
            joined @ layer.output_projection.kernel.numpy(),
            atol=1e-5,
        )


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="`run_dir` must hold a training"):
        options = Options(run_dir=str(tmp_path), **TINY)
        duplication._keep_options(options, tmp_path)
        duplication.evaluate(options)
    with pytest.raises(ValueError, match="`run_dir` must be new or of the sa"):
        duplication.train(dataclasses.replace(options, train_steps=5))
    for name in (
        *("word_length", "train_steps", "batch_size", "save_every_steps"),
    ):
        with pytest.raises(ValueError) as error:
            Options(run_dir="", **{name: 0})
        assert str(error.value) == (
            f"`{name}` must be positive. Received: {name}=0."
        )
    with pytest.raises(ValueError) as error:
        Options(run_dir="", num_symbols=1)
    assert str(error.value) == (
        "`num_symbols` must be more than the separator. Received: "
        "num_symbols=1."
    )
    with pytest.raises(ValueError) as error:
        Options(run_dir="", batch_size=4, test_sequences=3)
    assert str(error.value) == (
        "`test_sequences` must be a batch or more. Received: "
        "test_sequences=3, batch_size=4."
    )

"""Tests of apps.language_model.recl."""

import dataclasses
import json

import numpy as np
import pytest

from apps.language_model import recl
from apps.language_model import train
from apps.language_model.context_losses import ContextLosses
from keras_xf import models

WORDS = b"one two three four five six seven eight nine ten "
SIZES = {
    "vocabulary_size": 40,
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "intermediate_dim": 16,
    "seed": 0,
}
TOKEN_IDS = np.random.default_rng(0).integers(5, 40, 80).astype("uint16")
STARTS = np.array([20, 33, 71])


@pytest.fixture(scope="module")
def transformer_xl():
    return models.build_transformer_xl(
        **SIZES, memory_length=4, initializer_stddev=0.3
    )


@pytest.fixture(scope="module")
def transformer():
    return models.build_language_model(**SIZES, positions="rotary")


def expected_transformer_xl(model, context, stride):
    """The whole of context and block at once, without a memory."""
    model = models.transformer_xl_variant(model, memory_length=0)
    rows = np.array([TOKEN_IDS[s - context : s + stride] for s in STARTS])
    inputs = rows[:, :-1].astype("int32")
    outputs = model(
        {
            "token_ids": inputs,
            "length": np.full(len(rows), inputs.shape[1], "int32"),
            **models.initial_memory(model, len(rows)),
        }
    )
    return pick(outputs["log_probs"], rows, stride)


def expected_transformer(model, context, stride):
    rows = np.array([TOKEN_IDS[s - context : s + stride] for s in STARTS])
    inputs = np.pad(rows[:, :-1], ((0, 0), (1, 0)), constant_values=2)
    logits = np.asarray(
        model(
            {
                "token_ids": inputs.astype("int32"),
                "length": np.full(len(rows), inputs.shape[1], "int32"),
            }
        )["logits"],
        "float64",
    )
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return pick(log_probs, rows, stride)


def pick(log_probs, rows, stride):
    log_probs, targets = np.asarray(log_probs)[:, -stride:], rows[:, -stride:]
    targets = targets.astype("int64")[..., np.newaxis]
    return -np.take_along_axis(log_probs, targets, axis=-1)[..., 0]


@pytest.mark.parametrize(
    ("context", "stride"), [(1, 1), (5, 1), (13, 3), (20, 8)]
)
@pytest.mark.parametrize("segment_length", [4, 50])
def test_a_transformer_xl_sees_the_context_alone(
    transformer_xl, context, stride, segment_length
):
    stream = {
        "segment_length": segment_length,
        "memory_length": 40,
        "attention_window": None,
        "clamp_length": None,
    }
    # Two at once: the second batch is not full.
    score = ContextLosses(transformer_xl, stream=stream, batch_size=2)
    np.testing.assert_allclose(
        score(TOKEN_IDS, STARTS, stride, context),
        expected_transformer_xl(transformer_xl, context, stride),
        rtol=1e-4,
    )
    # It is the same dict for the next run.
    assert stream["segment_length"] == segment_length


@pytest.mark.parametrize(
    ("context", "stride"), [(1, 1), (5, 1), (13, 3), (20, 8)]
)
def test_models_without_memory_see_one_window(
    transformer, transformer_xl, context, stride
):
    score = ContextLosses(transformer, batch_size=2)
    np.testing.assert_allclose(
        score(TOKEN_IDS, STARTS, stride, context),
        expected_transformer(transformer, context, stride),
        rtol=1e-4,
    )
    stream = {
        "segment_length": 3,
        "memory_length": 0,
        "attention_window": None,
        "clamp_length": None,
    }
    score = ContextLosses(transformer_xl, stream=stream, batch_size=2)
    np.testing.assert_allclose(
        score(TOKEN_IDS, STARTS, stride, context),
        expected_transformer_xl(transformer_xl, context, stride),
        rtol=1e-4,
    )


def test_a_model_sees_no_more_than_its_positions(transformer):
    score = ContextLosses(transformer, max_length=16)
    assert score.limit(10, 4) == 10
    assert score.limit(20, 4) == 12
    np.testing.assert_allclose(
        score(TOKEN_IDS, STARTS, 4, 20),
        expected_transformer(transformer, 12, 4),
        rtol=1e-4,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of few steps."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text").write_bytes(20 * WORDS)
    for name, arguments in {
        "xl": {
            "model": "transformer_xl",
            "segment_length": 8,
            "eval_memory_length": 16,
        },
        "transformer": {"window_length": 16},
    }.items():
        train.train(
            train.Options(
                run_dir=str(folder / name),
                train_files=(str(folder / "text"),),
                test_files=(str(folder / "text"),),
                tokenizer="words",
                num_layers=1,
                hidden_dim=16,
                num_heads=2,
                intermediate_dim=16,
                batch_size=4,
                train_steps=3,
                learning_rate=1e-2,
                log_every_steps=0,
                deterministic=False,
                **arguments,
            )
        )
    return folder


@pytest.fixture
def options(runs, tmp_path):
    return recl.Options(
        run_dirs=(str(runs / "xl"), str(runs / "transformer")),
        output_dir=str(tmp_path / "recl"),
        start=4,
        delta=4,
        maximum=12,
        positions=30,
        stride=3,
        batch_size=4,
    )


def test_leaves_a_table_and_a_plot(options, runs, tmp_path, capsys):
    result = recl.recl(options)
    folder = tmp_path / "recl"
    assert json.loads((folder / "recl.json").read_text()) == result
    assert (folder / "recl.png").stat().st_size > 10_000
    assert result["contexts"] == [4, 8, 12]
    assert (result["positions"], result["stride"]) == (30, 3)
    assert [model["run_dir"] for model in result["models"]] == [
        str(runs / "xl"),
        str(runs / "transformer"),
    ]
    for model in result["models"]:
        assert len(model["losses"]) == 3
        assert model["parameters"] > 1000
        assert set(model["recl"]) == {"0.1", "0.5", "1.0"}
        for found in model["recl"].values():
            assert found["length"] in (4, 8, 12)
    printed = capsys.readouterr().out
    for text in ("r = 0.1", "r = 1.0", str(runs / "xl"), "30 positions"):
        assert text in printed


def test_goes_on_with_what_was_scored(options, runs, monkeypatch):
    before = recl.compare(
        dataclasses.replace(options, run_dirs=options.run_dirs[:1])
    )
    scored = []
    call = ContextLosses.__call__

    def count(self, token_ids, starts, stride, context):
        scored.append(context)
        return call(self, token_ids, starts, stride, context)

    monkeypatch.setattr(ContextLosses, "__call__", count)
    after = recl.compare(options)
    assert scored == [4, 8, 12]
    assert after["models"][0]["losses"] == before["models"][0]["losses"]
    # Another way to read is another score.
    recl.compare(dataclasses.replace(options, memory_length=5))
    assert scored == 2 * [4, 8, 12]
    recl.compare(dataclasses.replace(options, top=(0.3,)))
    assert len(scored) == 6


def test_a_window_is_no_longer_than_asked(options, runs):
    options = dataclasses.replace(
        options, run_dirs=(str(runs / "transformer"),)
    )

    def losses(**arguments):
        changed = dataclasses.replace(options, **arguments)
        return recl.compare(changed)["models"][0]["losses"]

    # Trained on 16 tokens, of which 3 are scored.
    trained = losses(maximum=20)
    assert len(set(trained[:3])) == 3
    assert trained[3:] == [losses(start=13, maximum=20)[0]] * 2
    shorter = losses(window_length=7)
    assert len(set(shorter)) == 1
    assert losses(window_length=0, maximum=20)[4] != trained[4]


def test_runs_of_several_tokenizers_are_refused(options, runs, tmp_path):
    other = tmp_path / "other"
    (other / "text").mkdir(parents=True)
    for path in (runs / "xl").iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    (other / "text" / "tokenizer.json").write_text("{}")
    run_dirs = (str(runs / "xl"), str(other))
    with pytest.raises(ValueError) as error:
        recl.compare(dataclasses.replace(options, run_dirs=run_dirs))
    assert str(error.value) == (
        "`run_dirs` must be of models with one tokenizer. "
        f"Received: run_dirs={run_dirs!r}."
    )


def test_a_short_text_is_refused(options):
    with pytest.raises(ValueError) as error:
        recl.compare(dataclasses.replace(options, positions=200))
    assert str(error.value) == (
        "`files` must have a context of `maximum` tokens and `positions` after "
        "it. Received: num_tokens=201, maximum=12, positions=200."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"run_dirs": ()},
            "`run_dirs` must not be empty. Received: run_dirs=().",
        ),
        ({"start": 0}, "`start` must be positive. Received: start=0."),
        (
            {"clamp_length": -1},
            "`clamp_length` must not be negative. Received: clamp_length=-1.",
        ),
        (
            {"window_length": 16},
            "`window_length` must be more than `stride`. "
            "Received: window_length=16, stride=16.",
        ),
        (
            {"start": 100, "delta": 50, "maximum": 149},
            "`maximum` must leave room for two contexts. "
            "Received: start=100, delta=50, maximum=149.",
        ),
        (
            {"top": (0.5, 1.5)},
            "`top` must be fractions in (0, 1]. Received: top=(0.5, 1.5).",
        ),
    ],
)
def test_rejects_options(arguments, message):
    given = {"run_dirs": ("a",), "output_dir": "b", **arguments}
    with pytest.raises(ValueError) as error:
        recl.Options(**given)
    assert str(error.value) == message

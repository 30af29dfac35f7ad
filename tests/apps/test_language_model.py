"""Tests of apps.language_model, and of the way to the served model."""

import bz2
import dataclasses
import gzip
import json
import lzma
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from apps.language_model import evaluate
from apps.language_model import report
from apps.language_model import train
from apps.language_model.corpus import CorpusOptions
from apps.language_model.corpus import read_corpus
from apps.language_model.scoring import score_corpus
from keras_xf import models
from keras_xf.data.standard_library import standard_library_files
from keras_xf.text import ByteTokenizer

ROOT = Path(__file__).parent.parent.parent
PATTERN = b"the quick brown fox jumps over the lazy dog. "


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Text that repeats itself, in the three forms that files may have."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "train.txt").write_bytes(40 * PATTERN)
    (folder / "more.txt.gz").write_bytes(gzip.compress(20 * PATTERN))
    (folder / "held_out.txt.xz").write_bytes(lzma.compress(12 * PATTERN))
    return folder


@pytest.fixture(scope="module")
def options(files, tmp_path_factory):
    return train.Options(
        run_dir=str(tmp_path_factory.mktemp("runs") / "run"),
        train_files=(str(files / "train.txt"), str(files / "more.txt.gz")),
        validation_files=(str(files / "held_out.txt.xz"),),
        test_files=(str(files / "held_out.txt.xz"),),
        num_layers=1,
        hidden_dim=32,
        num_heads=2,
        intermediate_dim=64,
        window_length=32,
        batch_size=8,
        train_steps=80,
        save_every_steps=40,
        learning_rate=1e-2,
        log_every_steps=0,
        # It could not be turned off again for the tests behind these.
        deterministic=False,
    )


@pytest.fixture(scope="module")
def result(options):
    return train.train(options)


def test_learns_a_text_that_repeats_itself(options, result):
    first, last = result.history[0], result.history[-1]
    assert last["val_bits_per_token"] < 0.5 < first["bits_per_token"]
    score, corpus = evaluate.evaluate(evaluate.Options(run_dir=options.run_dir))
    # Most windows' first bytes have little context.
    assert score.bits_per_byte < 1
    assert (score.bytes, score.tokens) == (540, 541)
    assert corpus.num_bytes == 540


def test_run_directory_holds_what_export_reads(options, result):
    run_dir = Path(options.run_dir)
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {
        *("options.flags", "model.json", "model.keras", "text"),
        *("history.csv", "learning_curve.png", "checkpoints"),
    }
    description = json.loads((run_dir / "model.json").read_text())
    assert models.build(description).count_params() == (
        result.model.count_params()
    )


def test_more_context_never_loses_on_average(options, result):
    scores = [
        evaluate.evaluate(
            evaluate.Options(run_dir=options.run_dir, stride=stride)
        )[0]
        for stride in (32, 8)
    ]
    assert scores[1].nats < scores[0].nats


def test_score_equals_one_window_by_hand(files):
    corpus = read_corpus([str(files / "held_out.txt.xz")], ByteTokenizer())
    corpus = dataclasses.replace(corpus, token_ids=corpus.token_ids[:20])
    model = models.build_language_model(
        vocabulary_size=261, num_layers=1, hidden_dim=16, num_heads=2
    )
    score = score_corpus(
        model, corpus, window_length=32, stride=16, batch_size=4
    )
    ids = corpus.token_ids.astype("int32")
    inputs = np.concatenate([[2], ids[:-1]])  # BOS first.
    logits = model(
        {
            "token_ids": inputs[np.newaxis].astype("int32"),
            "length": np.array([20], "int32"),
        }
    )["logits"][0]
    logits = np.asarray(logits, "float64")
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    nats = -log_probs[np.arange(20), ids].sum()
    assert score.nats == pytest.approx(nats, rel=1e-5)
    assert score.bits_per_token == pytest.approx(nats / 20 / math.log(2))


def test_report_compares_with_compressors(options, result, files, capsys):
    report.report(evaluate.Options(run_dir=options.run_dir))
    run_dir = Path(options.run_dir)
    comparison = json.loads((run_dir / "comparison.json").read_text())
    data = lzma.decompress((files / "held_out.txt.xz").read_bytes())
    assert comparison["held_out_bytes"] == len(data)
    assert comparison["bzip2"] == 8 * len(bz2.compress(data, 9)) / len(data)
    assert comparison["xz"] == 8 * len(lzma.compress(data, preset=9)) / len(
        data
    )
    assert comparison["gzip"] == 8 * len(gzip.compress(data, 9)) / len(data)
    assert 0 < comparison["model"] < 1
    assert comparison["training_seconds"] > 0
    printed = capsys.readouterr().out
    for name in ("this model", "gzip -9", "bzip2 -9", "xz -9", "540 held-out"):
        assert name in printed
    assert (run_dir / "learning_curve.png").stat().st_size > 10_000


def test_evaluate_prints_one_json_object_and_nothing_else(options, result):
    process = subprocess.run(
        [
            *(sys.executable, "-m", "apps.language_model.evaluate"),
            f"--run_dir={options.run_dir}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(process.stdout)
    assert set(printed) == {
        *("bits_per_byte", "bits_per_token", "perplexity"),
        *("bytes", "tokens"),
    }
    score, _ = evaluate.evaluate(evaluate.Options(run_dir=options.run_dir))
    assert printed["bits_per_byte"] == pytest.approx(score.bits_per_byte)


def test_another_architecture_is_refused_by_name(options, result):
    other = dataclasses.replace(options, num_layers=2)
    with pytest.raises(ValueError) as error:
        train.train(other)
    assert str(error.value) == (
        "`run_dir` must not hold a run of another model. These differ, there "
        "and here. Received: num_layers=(1, 2)."
    )


def test_other_data_are_refused(options, result, files):
    other = dataclasses.replace(
        options, train_files=(str(files / "train.txt"),)
    )
    with pytest.raises(ValueError, match="must not hold a run on other data"):
        train.train(other)


def test_files_shorter_than_a_batch_of_windows_are_refused(options, files):
    tiny = files / "tiny.txt"
    tiny.write_bytes(b"short")
    other = dataclasses.replace(
        options,
        run_dir=str(files / "none"),
        train_files=(str(tiny),),
    )
    with pytest.raises(ValueError) as error:
        train.train(other)
    assert str(error.value) == (
        "`token_ids` must have `batch_size` windows of `length` tokens. "
        "Received: num_tokens=6, batch_size=8, length=32."
    )
    assert not (files / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"activation": "wavy"},
            "`activation` must be the name of a Keras activation. "
            "Received: activation='wavy'.",
        ),
        (
            {"window_length": 0},
            "`window_length` must be positive. Received: window_length=0.",
        ),
        (
            {"validation_tokens": 0},
            "`validation_tokens` must be positive. "
            "Received: validation_tokens=0.",
        ),
        (
            {"validation_files": ("a",)},
            "`validation_files` must be empty unless there are `train_files`. "
            "Received: validation_files=('a',).",
        ),
    ],
)
def test_rejects_options(arguments, message):
    with pytest.raises(ValueError) as error:
        train.Options(run_dir="unused", **arguments)
    assert str(error.value) == message


def test_evaluate_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(tmp_path)))
    assert str(error.value) == (
        "`run_dir` must hold a trained language model. "
        f"Received: run_dir={str(tmp_path)!r}, missing='options.flags'."
    )


def test_the_standard_library_is_the_default_corpus():
    split = standard_library_files()
    options = CorpusOptions()
    for name in ("train", "validation", "test"):
        assert options.files(name) == [str(path) for path in split[name]]
    # Whoever names files means these, and no others beside them.
    named = CorpusOptions(train_files=("a.txt",))
    assert named.files("train") == ["a.txt"]
    assert named.files("validation") == []
    only_test = CorpusOptions(test_files=("b.txt",))
    assert only_test.files("test") == ["b.txt"]


def test_model_file_holds_no_optimizer(options, result):
    size = (Path(options.run_dir) / "model.keras").stat().st_size
    weights = 4 * result.model.count_params()
    # Adam's two moments would triple it.
    assert weights < size < 2 * weights

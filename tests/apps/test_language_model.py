"""Tests of apps.language_model, and of the way to the served model."""

import bz2
import dataclasses
import gzip
import importlib.util
import json
import lzma
import math
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from apps.language_model import evaluate
from apps.language_model import report
from apps.language_model import train
from apps.language_model.corpus import CorpusOptions
from apps.language_model.corpus import make_corpus
from apps.language_model.corpus import read_corpus
from apps.language_model.scoring import Score
from apps.language_model.scoring import score_corpus
from apps.training import NonFiniteError
from keras_xf import models
from keras_xf.data.standard_library import standard_library_files
from keras_xf.text import ByteTokenizer
from keras_xf.text import load_tokenizer

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
    corpus = read_corpus(
        [str(files / "held_out.txt.xz")], ByteTokenizer(), "files"
    )
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
        *("bits_per_byte", "bits_per_character", "bits_per_token"),
        *("perplexity", "bytes", "characters", "tokens"),
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
        "`train_files` must have `batch_size` windows of `window_length` "
        f"tokens. Received: train_files={(str(tiny),)!r}, batch_size=8, "
        "window_length=32, num_tokens=6."
    )
    assert not (files / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            (
                {"activation": name},
                "`activation` must be the name of a Keras activation. "
                f"Received: activation={name!r}.",
            )
            for name in ("wavy", "get", "deserialize", "threshold", "glu", "")
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
        (
            {"vocabulary_size": 100},
            "`vocabulary_size` must be none unless `tokenizer` is words. "
            "Received: vocabulary_size=100, tokenizer='bytes'.",
        ),
        (
            {"memory_length": 64},
            "`memory_length` must be left out: a transformer has none. "
            "Received: memory_length=64, model='transformer'.",
        ),
        (
            {"model": "reformer", "tied": False},
            "`tied` must be left out: a reformer has none. "
            "Received: tied=False, model='reformer'.",
        ),
        (
            {"model": "reformer", "eval_segment_length": 8},
            "`eval_segment_length` must be left out: a reformer has none. "
            "Received: eval_segment_length=8, model='reformer'.",
        ),
        (
            {"model": "transformer_xl", "num_hashes": 2},
            "`num_hashes` must be left out: a transformer_xl has none. "
            "Received: num_hashes=2, model='transformer_xl'.",
        ),
        (
            {"tokenizer": "words", "vocabulary_size": 5},
            "`vocabulary_size` must exceed the 5 special ids. "
            "Received: vocabulary_size=5.",
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


@pytest.mark.parametrize("name", ["gelu", "relu", "silu", "swish", "tanh"])
def test_takes_activations(name):
    assert train.Options(run_dir="unused", activation=name).activation == name


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_files_are_named_by_their_flag(options, result, files, split):
    (files / "cut.gz").write_bytes(gzip.compress(PATTERN)[:20])
    (files / "empty").write_bytes(b"")
    causes = {
        "gone": f"[Errno 2] No such file or directory: {str(files / 'gone')!r}",
        "empty": "empty",
        "cut.gz": "Compressed file ended before the end-of-stream marker was "
        "reached",
    }
    for name, cause in causes.items():
        path = str(files / name)
        with pytest.raises(ValueError) as error:
            if split == "test":
                run_dir = copy_run(options, files / f"of_{name}")
                replace_line(run_dir, "test_files", path)
                evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
            else:
                train.train(
                    dataclasses.replace(options, **{f"{split}_files": (path,)})
                )
        assert str(error.value) == (
            f"`{split}_files` must name files that can be read and are not "
            f"empty. Received: path={path!r}, error={cause!r}."
        )
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(
            evaluate.Options(run_dir=options.run_dir, files=(path,))
        )
    assert str(error.value).startswith("`files` must name files that")


def copy_run(options, path):
    shutil.copytree(options.run_dir, path)
    return path


def replace_line(run_dir, name, value):
    path = run_dir / "options.flags"
    lines = path.read_text().splitlines()
    lines = [line for line in lines if not line.startswith(f"--{name}=")]
    path.write_text("\n".join([*lines, f"--{name}={value}"]) + "\n")


@pytest.mark.parametrize("name", ["window_length", "stride", "batch_size"])
def test_evaluate_rejects_sizes_below_one(name):
    with pytest.raises(ValueError) as error:
        evaluate.Options(run_dir="unused", **{name: 0})
    assert str(error.value) == (
        f"`{name}` must be positive. Received: {name}=0."
    )


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"stride": 33}, "stride=33, window_length=32"),
        (
            {"window_length": 8, "stride": 9},
            "stride=9, window_length=8",
        ),
    ],
)
def test_evaluate_leaves_out_no_token(options, result, arguments, received):
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(
            evaluate.Options(run_dir=options.run_dir, **arguments)
        )
    assert str(error.value) == (
        f"`stride` must not exceed `window_length`. Received: {received}."
    )


def test_evaluate_asks_for_no_positions_that_were_not_learned(
    options, result, tmp_path
):
    run_dir = copy_run(options, tmp_path / "run")
    path = run_dir / "model.json"
    description = json.loads(path.read_text())
    description["arguments"]["max_length"] = 32
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(
            evaluate.Options(run_dir=str(run_dir), window_length=33)
        )
    assert str(error.value) == (
        "`window_length` must not exceed the number of positions that the "
        "model has learned. Received: window_length=33, max_length=32."
    )


def test_evaluate_names_a_damaged_model(options, result, tmp_path):
    run_dir = copy_run(options, tmp_path / "run")
    path = run_dir / "model.keras"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError) as cause:
        keras.saving.load_model(path, compile=False)
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        "`run_dir` must lead to a Keras model that can be read. "
        f"Received: path={str(path)!r}, "
        f"error={f'ValueError: {cause.value}'!r}."
    )


def test_evaluate_has_no_score_that_is_no_number(options, result, tmp_path):
    run_dir = copy_run(options, tmp_path / "run")
    path = run_dir / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    model.trainable_variables[0].assign(
        np.full(model.trainable_variables[0].shape, np.nan, "float32")
    )
    model.save(path)
    with pytest.raises(NonFiniteError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        f"The bits_per_byte of the model in {run_dir} is not finite."
    )
    assert error.value.exit_code == 70


def test_a_perplexity_beyond_floats_is_infinite():
    score = Score(nats=20.0, tokens=10, bytes=9, characters=8)
    assert score.perplexity == math.exp(2.0)
    assert dataclasses.replace(score, nats=8000.0).perplexity == math.inf


def test_characters_are_those_of_utf_8():
    corpus = make_corpus(["naïve".encode(), b"a\xff"], ByteTokenizer())
    assert (corpus.num_bytes, corpus.num_characters) == (8, 7)
    score = Score(nats=math.log(2) * 28, tokens=10, bytes=8, characters=7)
    assert score.bits_per_character == pytest.approx(4.0)


@pytest.mark.parametrize("program", ["train", "report"])
def test_a_missing_matplotlib_is_told_before_the_work(
    options, files, monkeypatch, program
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "matplotlib" else find(name),
    )
    run_dir = str(files / "not_made")
    with pytest.raises(ValueError) as error:
        if program == "train":
            train.train(dataclasses.replace(options, run_dir=run_dir))
        else:
            report.report(evaluate.Options(run_dir=run_dir))
    assert str(error.value) == (
        "`run_dir` gets a picture, which needs matplotlib: "
        "pip install 'keras_xf[apps]'. "
        f"Received: run_dir={run_dir!r}."
    )
    assert not (files / "not_made").exists()


def test_report_needs_a_history(options, result, tmp_path):
    run_dir = copy_run(options, tmp_path / "run")
    (run_dir / "history.csv").write_text("step,training_seconds\n")
    with pytest.raises(ValueError) as error:
        report.report(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        "`run_dir` must have a history.csv with a row. "
        f"Received: run_dir={str(run_dir)!r}."
    )


@pytest.mark.parametrize("cutoffs", [(), (8, 11)])
def test_learns_words_too(options, tmp_path, cutoffs):
    train_text, held_out = tmp_path / "train.txt", tmp_path / "held_out.txt"
    # `rare` occurs once, and is the tenth of nine words that there is room for.
    train_text.write_bytes(150 * (PATTERN + b"\n") + b"rare")
    held_out.write_bytes(20 * (PATTERN + b"\n") + b"<unk>\n")
    run_dir = tmp_path / "run"
    train.train(
        dataclasses.replace(
            options,
            run_dir=str(run_dir),
            train_files=(str(train_text),),
            validation_files=(str(held_out),),
            test_files=(str(held_out),),
            tokenizer="words",
            vocabulary_size=14,
            cutoffs=cutoffs,
        )
    )
    tokenizer = load_tokenizer(run_dir / "text")
    assert tokenizer.words == [
        *("the", "\n", "brown", "dog.", "fox", "jumps", "lazy", "over"),
        "quick",
    ]
    score, _ = evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
    # Words, ends of lines, and the end of the file.
    assert score.tokens == 20 * 9 + 20 + 2 + 1
    assert score.perplexity < 2


@pytest.fixture(scope="module")
def reformer_options(options, tmp_path_factory):
    return dataclasses.replace(
        options,
        run_dir=str(tmp_path_factory.mktemp("runs") / "reformer"),
        model="reformer",
        num_layers=2,
        chunk_length=8,
        max_length=48,
    )


@pytest.fixture(scope="module")
def reformer_result(reformer_options):
    return train.train(reformer_options)


def test_a_reformer_learns_too(reformer_options, reformer_result):
    last = reformer_result.history[-1]
    assert last["val_bits_per_token"] < 1
    run_dir = Path(reformer_options.run_dir)
    description = json.loads((run_dir / "model.json").read_text())
    assert description["builder"] == "build_reformer_language_model"
    assert description["arguments"]["max_length"] == 48
    # With more hashes it is another model, of the same weights.
    scores = [
        evaluate.evaluate(
            evaluate.Options(run_dir=str(run_dir), num_hashes=num_hashes)
        )[0].bits_per_byte
        for num_hashes in (None, 1, 4)
    ]
    assert scores[0] == pytest.approx(scores[1])
    assert scores[2] != scores[0]
    assert scores[2] < 1.5


def test_evaluate_names_hashes_where_there_are_none(options, result):
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(
            evaluate.Options(run_dir=options.run_dir, num_hashes=2)
        )
    assert str(error.value) == (
        "`num_hashes` must be none for a model that does not hash. "
        "Received: num_hashes=2, model='build_language_model'."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"model": "reformer", "positions": "rotary"},
            "`positions` of a reformer must be one of ('axial', 'learned'). "
            "Received: positions='rotary'.",
        ),
        (
            {"max_length": 64},
            "`max_length` must be none where positions are not learned. "
            "Received: max_length=64, positions=None.",
        ),
        (
            {"model": "reformer", "max_length": 16},
            "`max_length` must be `window_length` or more. "
            "Received: max_length=16, window_length=32.",
        ),
    ],
)
def test_positions_must_suit_the_model(options, arguments, message):
    with pytest.raises(ValueError) as error:
        train.train(dataclasses.replace(options, **arguments))
    assert str(error.value) == message

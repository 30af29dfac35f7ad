"""Tests of apps.classification."""

import dataclasses
import gzip
import importlib.util
import json
import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from apps.classification import baselines
from apps.classification import evaluate
from apps.classification import report
from apps.classification import train
from apps.classification.examples import ExampleOptions
from apps.classification.scoring import Score
from apps.classification.scoring import score_texts
from apps.training import NonFiniteError
from keras_xf import models
from keras_xf.data.labeled_texts import LabeledTexts
from keras_xf.data.standard_library_packages import standard_library_packages
from keras_xf.launch import launch

CRIES = {"cat": "meow purr ", "dog": "woof bark\\n", "owl": "hoot "}


def lines(repeats):
    """A text of each class for each number of repeats, in two orders."""
    return "".join(
        f"{label}\t{cry * repeat}\n"
        for repeat in repeats
        for label, cry in sorted(CRIES.items(), reverse=repeat % 2)
    ).encode()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "train.tsv").write_bytes(lines([3, 8, 15]))
    (folder / "more.tsv.gz").write_bytes(gzip.compress(lines([4, 9])))
    (folder / "held_out.tsv").write_bytes(lines([2, 7, 12]) + b"owl\thoot")
    return folder


@pytest.fixture(scope="module")
def options(files, tmp_path_factory):
    return train.Options(
        run_dir=str(tmp_path_factory.mktemp("runs") / "run"),
        train_files=(str(files / "train.tsv"), str(files / "more.tsv.gz")),
        validation_files=(str(files / "held_out.tsv"),),
        test_files=(str(files / "held_out.tsv"),),
        # LSH, whose hashing is part of the state of a run.
        attention=("lsh",),
        num_layers=1,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        chunk_length=8,
        positions="learned",
        window_length=32,
        batch_size=8,
        train_steps=60,
        save_every_steps=30,
        learning_rate=1e-2,
        log_every_steps=0,
        # It could not be turned off again for the tests behind these.
        deterministic=False,
    )


@pytest.fixture(scope="module")
def result(options):
    return train.train(options)


def test_learns_who_cries(options, result):
    assert result.history[-1]["val_accuracy"] == 1
    assert result.history[-1]["val_bits"] < 0.5
    score = evaluate.evaluate(evaluate.Options(run_dir=options.run_dir)).score
    assert score.accuracy == score.piece_accuracy == 1
    assert score.bits_per_text < 0.5
    # As many pieces of 31 bytes as fit: 20, 20, 10; 70, 70, 35; 120, 120, 60;
    # and the 4 of the last line.
    assert (len(score.class_ids), score.pieces) == (10, 22)


def test_run_directory_holds_what_export_reads(options, result):
    run_dir = Path(options.run_dir)
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {
        *("options.flags", "model.json", "model.keras", "text"),
        *("history.csv", "learning_curve.png", "checkpoints"),
    }
    assert (run_dir / "classes.txt").read_bytes() == b"cat\ndog\nowl\n"
    description = json.loads((run_dir / "model.json").read_text())
    assert description["builder"] == "build_reformer_encoder"
    assert description["arguments"]["max_length"] == 32
    assert models.build(description).count_params() == (
        result.model.count_params()
    )


def test_a_run_that_was_cut_off_ends_the_same(options, result, tmp_path):
    run_dir = copy_run(options, tmp_path / "run")
    (last,) = run_dir.glob("checkpoints/*60*")
    shutil.rmtree(last)
    again = train.train(dataclasses.replace(options, run_dir=str(run_dir)))
    assert again.step == 60
    # Hashing and dropout went on with the draws that they had come to.
    for weight, expected in zip(
        again.model.weights, result.model.weights, strict=True
    ):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)


def copy_run(options, path):
    shutil.copytree(options.run_dir, path)
    return path


def replace_line(run_dir, name, value):
    path = run_dir / "options.flags"
    flags = path.read_text().splitlines()
    flags = [line for line in flags if not line.startswith(f"--{name}=")]
    path.write_text("\n".join([*flags, f"--{name}={value}"]) + "\n")


@keras.saving.register_keras_serializable(package="tests")
class Counts(keras.layers.Layer):
    """Logits that tell how many of the tokens 7, 8 and 9 a piece has."""

    def call(self, token_ids, length):
        is_real = (
            keras.ops.arange(keras.ops.shape(token_ids)[1]) < length[:, None]
        )
        kinds = keras.ops.equal(
            token_ids[:, :, None], keras.ops.convert_to_tensor([7, 8, 9])
        )
        kinds = keras.ops.logical_and(kinds, is_real[:, :, None])
        return keras.ops.sum(keras.ops.cast(kinds, "float32"), axis=1)


def test_score_is_the_mean_of_the_pieces_log_probs():
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "length": keras.Input((), dtype="int32", name="length"),
    }
    model = keras.Model(inputs, {"logits": Counts()(**inputs)})
    texts = [[7, 7, 8, 9, 9, 9, 9], [], [8, 8, 8]]
    score = score_texts(
        model,
        [np.array(text, "uint16") for text in texts],
        np.array([0, 1, 1], "int32"),
        # Three tokens after BOS: the first text is cut in 2, 2 and 3.
        window_length=4,
        batch_size=2,
    )
    pieces = [[[7, 7], [8, 9], [9, 9, 9]], [[]], [[8, 8, 8]]]
    for row, own in enumerate(pieces):
        log_probs = [
            log_softmax([piece.count(token) for token in (7, 8, 9)])
            for piece in own
        ]
        expected = log_softmax(np.mean(log_probs, axis=0))
        np.testing.assert_allclose(score.log_probs[row], expected, atol=1e-12)
    assert score.pieces == 5
    # The first is right in one piece; none of three counts is the most.
    assert score.right_pieces == 2
    assert score.class_ids.tolist() == [0, 1, 1]


def log_softmax(logits):
    probs = np.exp(logits) / np.exp(logits).sum()
    return np.log(probs)


def test_figures_of_a_score():
    probs = np.array(
        [[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.5, 0.5, 0]]
    )
    score = Score(
        class_ids=np.array([0, 0, 1, 0], "int32"),
        log_probs=np.log(probs.clip(1e-9)),
        pieces=8,
        right_pieces=5,
    )
    # The third class has no text.
    assert score.confusion.tolist() == [[2, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert score.accuracy == 0.5
    assert score.balanced_accuracy == pytest.approx((2 / 3 + 0) / 2)
    assert score.piece_accuracy == 5 / 8
    expected = (1 + math.log2(10) + 2 + 1) / 4
    assert score.bits_per_text == pytest.approx(expected)


def test_naive_bayes_by_hand():
    known = LabeledTexts(
        ["a", "a", "b"], [b"red red blue", b"red(1)", b"blue\tgreen_2"]
    )
    # Of "a" 3 red, 1 blue, 1 "1"; of "b" 1 blue, 1 green_2; each and one more.
    of_a = {"red": 4 / 9, "blue": 2 / 9, "1": 2 / 9, "green_2": 1 / 9}
    of_b = {"red": 1 / 6, "blue": 2 / 6, "1": 1 / 6, "green_2": 2 / 6}
    texts = {
        b"blue": "a",
        b"blue blue": "b",
        b"green_2": "b",
        b"red, unknown": "a",
        # With half a word more, not one, it would be "b".
        3 * b"red " + 3 * b"green_2 ": "a",
        b"": "a",
    }
    for text, label in texts.items():
        words = text.decode().replace(",", "").split()
        odds = 2 * math.prod(
            of_a[word] / of_b[word] for word in words if word in of_a
        )
        assert label == ("a" if odds > 1 else "b")
    asked = LabeledTexts(["a"] * len(texts), list(texts))
    assert baselines.guess_naive_bayes(known, asked) == list(texts.values())
    assert baselines.guess_majority(known, asked) == ["a"] * len(texts)


def test_report_compares_with_simple_classifiers(options, result, capsys):
    comparison = report.report(evaluate.Options(run_dir=options.run_dir))
    run_dir = Path(options.run_dir)
    assert json.loads((run_dir / "comparison.json").read_text()) == comparison
    # All cry as often; the first of those to learn from is an owl.
    assert comparison == {
        "model": 1.0,
        "naive Bayes": 1.0,
        "majority": 0.4,
        "standard_error": 0.0,
        "texts": 10,
        "training_seconds": result.history[-1]["training_seconds"],
    }
    printed = capsys.readouterr().out
    assert "Fraction of 10 held-out texts that are labeled right" in printed
    assert "  naive Bayes 1.000  " + 40 * "#" + "\n" in printed
    assert "  majority    0.400  " + 16 * "#" + "\n" in printed
    for name in ("learning_curve.png", "confusion.png"):
        assert (run_dir / name).stat().st_size > 10_000
        assert str(run_dir / name) in printed


def test_evaluate_prints_one_json_object_and_nothing_else(
    options, result, files, capsys
):
    (files / "other.tsv").write_bytes(b"owl\thoot hoot\ncat\thoot hoot\n")
    argv = [f"--run_dir={options.run_dir}", f"--files={files / 'other.tsv'}"]
    with pytest.raises(SystemExit) as exit_:
        launch(evaluate.Options, evaluate.main, ["evaluate", *argv])
    assert exit_.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    bits = printed.pop("bits_per_text")
    assert 1 < bits < 10
    assert printed == {
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "piece_accuracy": 0.5,
        "texts": 2,
        "pieces": 2,
        "classes": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"activation": "glu"},
            "`activation` must be the name of a Keras activation. "
            "Received: activation='glu'.",
        ),
        (
            {"attention": ()},
            "`attention` must not be empty. Received: attention=().",
        ),
        (
            {"window_length": 1},
            "`window_length` must be at least 2. Received: window_length=1.",
        ),
        (
            {"validation_pieces": 0},
            "`validation_pieces` must be positive. "
            "Received: validation_pieces=0.",
        ),
        (
            {"validation_files": ("a",)},
            "`validation_files` must be empty unless there are `train_files`. "
            "Received: validation_files=('a',).",
        ),
        (
            {"min_package_files": 2},
            "`min_package_files` must be at least 3. "
            "Received: min_package_files=2.",
        ),
        (
            {"batch_size": 0},
            "`batch_size` must be at least 1. Received: batch_size=0.",
        ),
    ],
)
def test_rejects_options(arguments, message):
    with pytest.raises(ValueError) as error:
        train.Options(run_dir="unused", **arguments)
    assert str(error.value) == message


def test_evaluate_rejects_a_batch_of_none():
    with pytest.raises(ValueError) as error:
        evaluate.Options(run_dir="unused", batch_size=0)
    assert str(error.value) == (
        "`batch_size` must be positive. Received: batch_size=0."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"cat\tmeow\ncat\tpurr\n",
            "`train_files` must have texts of two labels or more. "
            "Received: train_files=({path!r},), labels=['cat'].",
        ),
        (
            b"cat\tmeow\ndog\twoof\n",
            "`train_files` must have `batch_size` pieces of up to "
            "`window_length` tokens. Received: train_files=({path!r},), "
            "batch_size=8, window_length=32, num_pieces=2.",
        ),
        (
            b"cat\tmeow\ndog woof\n",
            "`train_files` must name files whose lines are a printable label "
            "in UTF-8, a tab and a text. Received: path={path!r}, line=2.",
        ),
        (
            b"",
            "`train_files` must name files that can be read and are not "
            "empty. Received: path={path!r}, error='empty'.",
        ),
        (
            lines([9, 9]).replace(b"owl", b"eagle"),
            "`validation_files` must have no labels that there are none of to "
            "learn from. Received: unknown=['owl'], "
            "known=['cat', 'dog', 'eagle'].",
        ),
    ],
)
def test_files_that_cannot_be_learned_from_are_told(
    options, tmp_path, content, message
):
    path = str(tmp_path / "texts.tsv")
    Path(path).write_bytes(content)
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError) as error:
        train.train(
            dataclasses.replace(
                options, run_dir=str(run_dir), train_files=(path,)
            )
        )
    assert str(error.value) == message.replace("{path!r}", repr(path))
    assert not run_dir.exists()


def test_another_model_and_other_data_are_refused(options, result, files):
    with pytest.raises(ValueError) as error:
        train.train(dataclasses.replace(options, pooling="first"))
    assert str(error.value) == (
        "`run_dir` must not hold a run of another model. These differ, there "
        "and here. Received: pooling=('mean', 'first')."
    )
    with pytest.raises(ValueError, match="must not hold a run on other data"):
        train.train(
            dataclasses.replace(
                options, train_files=(str(files / "held_out.tsv"),)
            )
        )


def test_evaluate_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(tmp_path)))
    assert str(error.value) == (
        "`run_dir` must hold a trained classifier. "
        f"Received: run_dir={str(tmp_path)!r}, missing='options.flags'."
    )


def test_evaluate_names_what_is_wrong_with_the_texts(
    options, result, files, tmp_path
):
    path = files / "eagle.tsv"
    path.write_bytes(b"eagle\tscream\n")
    unknown = (
        "must have no labels that there are none of to learn from. "
        "Received: unknown=['eagle'], known=['cat', 'dog', 'owl']."
    )
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(
            evaluate.Options(run_dir=options.run_dir, files=(str(path),))
        )
    assert str(error.value) == f"`files` {unknown}"
    run_dir = copy_run(options, tmp_path / "run")
    replace_line(run_dir, "test_files", path)
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == f"`test_files` {unknown}"
    replace_line(run_dir, "test_files", "")
    with pytest.raises(ValueError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        "`files` must not be empty: the run has no test files. "
        "Received: files=()."
    )


def test_evaluate_has_no_score_that_is_no_number(options, result, tmp_path):
    run_dir = copy_run(options, tmp_path / "run")
    path = run_dir / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    bias = model.get_layer("logits").bias
    bias.assign(np.full(bias.shape, np.nan, "float32"))
    model.save(path)
    with pytest.raises(NonFiniteError) as error:
        evaluate.evaluate(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        f"The bits_per_text of the model in {run_dir} is not finite."
    )


@pytest.mark.parametrize("program", ["train", "report"])
def test_a_missing_matplotlib_is_told_before_the_work(
    options, tmp_path, monkeypatch, program
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "matplotlib" else find(name),
    )
    run_dir = str(tmp_path / "not_made")
    with pytest.raises(ValueError, match="which needs matplotlib"):
        if program == "train":
            train.train(dataclasses.replace(options, run_dir=run_dir))
        else:
            report.report(evaluate.Options(run_dir=run_dir))
    assert not Path(run_dir).exists()


def test_report_needs_a_history(options, result, tmp_path):
    run_dir = copy_run(options, tmp_path / "run")
    (run_dir / "history.csv").write_text("step,training_seconds\n")
    with pytest.raises(ValueError) as error:
        report.report(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        "`run_dir` must have a history.csv with a row. "
        f"Received: run_dir={str(run_dir)!r}."
    )
    (run_dir / "history.csv").unlink()
    with pytest.raises(ValueError) as error:
        report.report(evaluate.Options(run_dir=str(run_dir)))
    assert str(error.value) == (
        "`run_dir` must hold a trained classifier. "
        f"Received: run_dir={str(run_dir)!r}, missing='history.csv'."
    )


def test_the_standard_library_is_the_default():
    files = standard_library_packages(min_files=8)
    texts = ExampleOptions().read("test")
    assert texts.labels == [package for package, _ in files["test"]]
    assert texts.texts == [path.read_bytes() for _, path in files["test"]]
    fewer = ExampleOptions(min_package_files=30).read("validation")
    assert set(fewer.labels) < set(texts.labels)
    # Whoever names files means these, and no others beside them.
    named = ExampleOptions(train_files=("a.tsv",))
    assert named.read("validation") is None
    assert named.read("test") is None


def test_the_flags_of_the_demo_are_options():
    path = Path(train.__file__).with_name("demo.flags")
    seen = []
    with pytest.raises(SystemExit) as exit_:
        launch(train.Options, seen.append, ["train", f"--flagfile={path}"])
    assert exit_.value.code == 0
    assert seen[0].run_dir == "runs/packages"
    assert not seen[0].train_files

"""Tests of apps.translation."""

import dataclasses
import io
import json
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.training import state
from apps.training.checkpoints import Checkpoints
from apps.translation import average_checkpoints
from apps.translation import evaluate
from apps.translation import train
from apps.translation import translate
from apps.translation.number_phrases import SPLITS
from apps.translation.number_phrases import number_phrases
from apps.translation.pairs import Pairs
from apps.translation.translator import load_translator
from export import saved_model
from keras_xf import models
from keras_xf.callbacks.branch_weights_file import read_branch_weights
from keras_xf.text import load_tokenizer

WORDS = {
    "red": "rot",
    "green": "grün",
    "blue": "blau",
    "house": "Haus",
    "dog": "Hund",
    "tree": "Baum",
    "sees": "sieht",
    "has": "hat",
}
MODELS = {
    "transformer": {},
    "weighted_transformer": {
        "model": "weighted_transformer",
        "branch_scale": "unit",
        "joint_vocabulary": False,
        "branch_steps": 180,
    },
}


def sentences(number, seed):
    """Pairs of words: what comes first comes last."""
    generator = np.random.default_rng(seed)
    names = list(WORDS)
    pairs = []
    for _ in range(number):
        chosen = generator.choice(names, 2)
        source = " ".join(chosen)
        pairs.append((source, " ".join(WORDS[w] for w in chosen[::-1])))
    return pairs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name, number in {"train": 400, "validation": 20, "test": 20}.items():
        sources, targets = zip(*sentences(number, len(name)), strict=True)
        for language, lines in {"en": sources, "de": targets}.items():
            (folder / f"{name}.{language}").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module", params=MODELS)
def options(request, files, tmp_path_factory):
    return train.Options(
        run_dir=str(tmp_path_factory.mktemp("runs") / "run"),
        source_files=(str(files / "train.en"),),
        target_files=(str(files / "train.de"),),
        validation_source_files=(str(files / "validation.en"),),
        validation_target_files=(str(files / "validation.de"),),
        test_source_files=(str(files / "test.en"),),
        test_target_files=(str(files / "test.de"),),
        vocabulary_size=25 if request.param != "transformer" else 40,
        num_layers=1,
        hidden_dim=32,
        num_heads=2,
        intermediate_dim=64,
        dropout=0.0,
        batch_tokens=256,
        length_buckets=(8, 16),
        optimizer="adam",
        learning_rate=0.01,
        train_steps=360,
        save_every_steps=90,
        log_every_steps=0,
        deterministic=False,
        **MODELS[request.param],
    )


@pytest.fixture(scope="module")
def result(options):
    return train.train(options)


def read_lines(path):
    return Path(path).read_text().splitlines()


def test_learns_and_is_evaluated(options, result, files, tmp_path):
    assert result.history[-1]["val_bits_per_token"] < 0.8
    output = tmp_path / "test.de"
    scores = evaluate.evaluate(
        evaluate.Options(
            run_dir=options.run_dir, max_new_tokens=16, output=str(output)
        )
    )
    assert scores["exact_match"] >= 0.75
    assert scores["chrf"] > 80
    assert "tok:13a" in scores["bleu_signature"]
    assert scores["lines"] == 20
    lines, references = read_lines(output), read_lines(files / "test.de")
    matches = np.mean(
        [one == other for one, other in zip(lines, references, strict=True)]
    )
    assert scores["exact_match"] == pytest.approx(matches)


def test_lines_keep_their_places(options, result, monkeypatch, capsysbinary):
    text = "red dog\n\nblue tree\n"
    stdin = types.SimpleNamespace(buffer=io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    given = translate.Options(run_dir=options.run_dir, max_new_tokens=16)
    translate.main(given)
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert lines[1] == ""
    # Alone, or among others, a line becomes the same.
    alone = translate.translate(given, ["blue tree"])
    assert lines[2] == alone[0]
    assert lines[0] == "Hund rot"


def test_n_best_are_numbered_and_scored(options, result, files, tmp_path):
    output = tmp_path / "out"
    translate.main(
        translate.Options(
            run_dir=options.run_dir,
            input=str(files / "test.en"),
            output=str(output),
            num_hypotheses=3,
            max_new_tokens=16,
        )
    )
    rows = [line.split("\t") for line in read_lines(output)]
    assert [int(row[0]) for row in rows] == list(np.repeat(range(1, 21), 3))
    scores = np.array([float(row[1]) for row in rows]).reshape(20, 3)
    assert (np.diff(scores) <= 0).all()
    for start in range(0, 60, 3):
        assert len({row[2] for row in rows[start : start + 3]}) == 3


def test_keeps_what_branches_weigh(options, result):
    folder = Path(options.run_dir)
    files = [folder / f"branch_weights.{kind}" for kind in ("csv", "png")]
    if options.model == "transformer":
        assert not any(path.exists() for path in files)
        return
    steps, blocks = read_branch_weights(files[0])
    assert steps == [0, 90, 180, 270, 360]
    expected = models.branch_weights(result.model)
    assert blocks.keys() == expected.keys()
    for name, both in expected.items():
        for which, weights in both.items():
            found = np.array(blocks[name][which])
            np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
            np.testing.assert_array_equal(
                found[:, -1].astype("float32"), weights
            )
            # From step 180 on they are frozen.
            assert np.ptp(found[:, :3], axis=1).max() > 1e-3
            np.testing.assert_array_equal(found[:, 3:], found[:, 2:-1])
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_branch_weights_can_be_replaced(options, result):
    where = {"run_dir": options.run_dir, "max_lines": 8, "num_beams": 1}
    replaced = evaluate.Options(branch_weights="random", **where)
    if options.model == "transformer":
        with pytest.raises(ValueError) as error:
            evaluate.evaluate(replaced)
        assert "`model` must have branches" in str(error.value)
        return
    scores = [
        evaluate.evaluate(evaluate.Options(**where, branch_weights=kind))
        for kind in ("learned", "equal", "random")
    ]
    # The file is what it was.
    assert evaluate.evaluate(evaluate.Options(**where)) == scores[0]
    assert scores[0] != scores[2]


def test_averages_checkpoints(options, result):
    model = average_checkpoints.average(
        average_checkpoints.Options(run_dir=options.run_dir, last=3)
    )
    path = Path(options.run_dir) / "averaged.keras"
    loaded = keras.saving.load_model(path)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    checkpoints = Checkpoints(Path(options.run_dir) / "checkpoints")
    name = next(
        name
        for name in checkpoints.load(360).arrays
        if name.startswith("model/") and name.endswith("embedding/embeddings")
    )
    tables = [
        checkpoints.load(step).arrays[name].astype("float64")
        for step in (180, 270, 360)
    ]
    variables = state.named_variables("model", model.variables)
    np.testing.assert_allclose(
        variables[name], np.mean(tables, axis=0), rtol=1e-6, atol=1e-7
    )
    older = average_checkpoints.average(
        average_checkpoints.Options(
            run_dir=options.run_dir,
            last=1,
            newest_step=300,
            output=str(path.with_name("older.keras")),
        )
    )
    variables = state.named_variables("model", older.variables)
    np.testing.assert_array_equal(variables[name], tables[1].astype("float32"))
    if options.model == "weighted_transformer":
        for block in models.branch_weights(model).values():
            for weights in block.values():
                assert weights.sum() == pytest.approx(1, abs=1e-6)
    translator = load_translator(options.run_dir, str(path))
    assert translator(["red dog"])[0][0].text == "Hund rot"
    with pytest.raises(ValueError, match="`last` must not be more than"):
        average_checkpoints.average(
            average_checkpoints.Options(run_dir=options.run_dir, last=4)
        )


def test_run_directory_holds_what_export_reads(options, result):
    folder = Path(options.run_dir)
    names = {path.name for path in folder.iterdir()}
    texts = (
        {"text"} if options.joint_vocabulary else {"source_text", "target_text"}
    )
    assert texts | {"model.keras", "model.json", "options.flags"} <= names
    arguments = json.loads((folder / "model.json").read_text())["arguments"]
    if options.joint_vocabulary:
        assert arguments["source_vocabulary_size"] is None


def test_branch_weights_have_a_rate_of_their_own(options, result):
    if options.model != "weighted_transformer":
        return
    weights = models.branch_weights(result.model)
    moved = [
        np.abs(each - 0.5).max()
        for block in weights.values()
        for each in block.values()
    ]
    assert max(moved) > 0.02


def test_served_models_translate_alike(options, result, files, tmp_path):
    folders = saved_model.export(
        saved_model.Options(
            run_dir=options.run_dir,
            export_dir=str(tmp_path),
            max_new_tokens=16,
            num_hypotheses=2,
            # One of the two will do: it takes a while.
            verify=options.model == "weighted_transformer",
        )
    )
    lines = [*read_lines(files / "test.en"), ""]
    expected = translate.translate(
        translate.Options(
            run_dir=options.run_dir, max_new_tokens=16, num_hypotheses=2
        ),
        lines,
    )
    tokens, text = (
        tf.saved_model.load(folder).signatures["serving_default"]
        for folder in folders
    )
    results = text(text=tf.constant(lines))
    written = [
        f"{number}\t{score:.4f}\t{line.decode()}"
        for number, row in enumerate(
            zip(results["text"].numpy(), results["score"].numpy(), strict=True),
            1,
        )
        # An empty line has one translation there.
        for line, score in list(zip(*row, strict=True))[
            : 2 if number < 21 else 1
        ]
    ]
    assert written == expected
    tokenizer = load_tokenizer(
        Path(options.run_dir)
        / ("text" if options.joint_vocabulary else "source_text")
    )
    source_ids, source_length = tokenizer.encode(lines)
    ids = tokens(source_ids=source_ids, source_length=source_length)
    for name in ("token_ids", "length"):
        np.testing.assert_array_equal(ids[name], results[name])


@pytest.fixture(scope="module")
def phrases():
    return {split: number_phrases(split) for split in SPLITS}


def test_numbers_are_shared_among_the_parts(phrases):
    english = {split: set(pairs[0]) for split, pairs in phrases.items()}
    assert len(english["train"]) > 18_000
    for split in ("validation", "test"):
        assert 400 < len(english[split]) < 600
        assert not english[split] & english["train"]
    assert not english["validation"] & english["test"]
    pairs = dict(zip(*phrases["train"], strict=True))
    assert pairs["twenty-one"] == "einundzwanzig"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"source_files": ("a",)},
            "`source_files` and `target_files` must be as many. "
            "Received: source_files=('a',), target_files=().",
        ),
        (
            {
                "validation_source_files": ("a",),
                "validation_target_files": ("b",),
            },
            "`validation_source_files` must be empty unless there are "
            "`source_files`. Received: validation_source_files=('a',).",
        ),
        (
            {"batch_size": 8},
            "`batch_size` must be left out: `batch_tokens` is the size. "
            "Received: batch_size=8.",
        ),
        (
            {"branch_steps": 8},
            "`branch_steps` must be left out: a transformer has none. "
            "Received: branch_steps=8, model='transformer'.",
        ),
        (
            {"min_weight": 0.1},
            "`min_weight` must be left out: a transformer has none. "
            "Received: min_weight=0.1, model='transformer'.",
        ),
        (
            {"positions": "learned", "max_length": 100},
            "`max_length` must not be less than the last of `length_buckets`. "
            "Received: max_length=100, length_buckets=(8, 16, 24, 32, 48, 64, "
            "96, 128).",
        ),
        (
            {
                "model": "weighted_transformer",
                "weighting": "fixed",
                "branch_steps": 7,
            },
            "`branch_steps` must be left out: a model of fixed branch weights "
            "has none. Received: branch_steps=7, model='model of fixed branch "
            "weights'.",
        ),
        (
            {"label_smoothing": 1.0},
            "`label_smoothing` must lie in [0, 1). "
            "Received: label_smoothing=1.0.",
        ),
    ],
)
def test_rejects_options(arguments, message):
    with pytest.raises(ValueError) as error:
        train.Options(run_dir="unused", **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"target_files": ("x",)},
            "`source_files` and `target_files` must be as many. Received: "
            "source_files=(), target_files=('x',).",
        ),
        (
            {"max_lines": 0},
            "`max_lines` must be positive. Received: max_lines=0.",
        ),
    ],
)
def test_rejects_what_cannot_be_evaluated(arguments, message):
    with pytest.raises(ValueError) as error:
        evaluate.Options(run_dir="unused", **arguments)
    assert str(error.value) == message


def test_other_pieces_are_other_data(options, result, monkeypatch):
    # As if another version of the package learned them.
    learn = train.Options.make_tokenizers
    swap = str.maketrans("aeu", "uae")

    def learn_others(self, pairs):
        sides = (pairs.sources, pairs.targets)
        swapped = [[line.translate(swap) for line in lines] for lines in sides]
        return learn(self, Pairs(*swapped))

    monkeypatch.setattr(train.Options, "make_tokenizers", learn_others)
    folder = Path(options.run_dir)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="must not hold a run on other data"):
        train.train(options)
    assert before == {
        p: p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_nothing_is_left_where_files_are_wrong(options, files, tmp_path):
    short = tmp_path / "short.de"
    short.write_text("Hund\n")
    run_dir = tmp_path / "run"
    wrong = dataclasses.replace(
        options, run_dir=str(run_dir), target_files=(str(short),)
    )
    with pytest.raises(ValueError, match="first_without_a_partner=2"):
        train.train(wrong)
    assert not run_dir.exists()

"""Tests of apps.language_model with a Transformer-XL."""

import dataclasses
import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from apps.language_model import evaluate
from apps.language_model import report
from apps.language_model import train
from keras_xf import models
from tests.apps.program_server import program_server
from tests.apps.program_server import run_program
from tests.apps.run_contents import assert_same_end
from tests.apps.run_contents import checkpoint_steps

PATTERN = b"the quick brown fox jumps over the lazy dog. "
BATCH_SIZE = 4
SEGMENT_LENGTH = 8
MEMORY_LENGTH = 10


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "train.txt").write_bytes(50 * PATTERN)
    (folder / "held_out.txt").write_bytes(6 * PATTERN + "naïve".encode())
    return folder


@pytest.fixture(scope="module")
def options(files, tmp_path_factory):
    return train.Options(
        run_dir=str(tmp_path_factory.mktemp("runs") / "run"),
        train_files=(str(files / "train.txt"),),
        validation_files=(str(files / "held_out.txt"),),
        test_files=(str(files / "held_out.txt"),),
        model="transformer_xl",
        num_layers=1,
        hidden_dim=32,
        num_heads=2,
        intermediate_dim=64,
        segment_length=SEGMENT_LENGTH,
        memory_length=MEMORY_LENGTH,
        # Not those of training, so that the two cannot be mixed up.
        eval_segment_length=6,
        eval_memory_length=12,
        clamp_length=16,
        batch_size=BATCH_SIZE,
        train_steps=240,
        save_every_steps=80,
        final_norm=False,
        learning_rate=2e-2,
        optimizer="adam",
        log_every_steps=0,
        deterministic=False,
    )


@pytest.fixture(scope="module")
def result(options):
    return train.train(options)


def score(options, **arguments):
    return evaluate.evaluate(
        evaluate.Options(run_dir=options.run_dir, **arguments)
    )[0]


def test_learns_a_text_that_repeats_itself(options, result):
    first, last = result.history[0], result.history[-1]
    assert last["bits_per_token"] < 0.2 < 1 < first["bits_per_token"]
    assert last["val_bits_per_token"] < first["val_bits_per_token"] < 3
    assert result.model.count_params() == (
        keras.saving.load_model(
            Path(options.run_dir) / "model.keras"
        ).count_params()
    )


def test_model_file_is_the_model_that_takes_its_memory(options, result):
    model = keras.saving.load_model(Path(options.run_dir) / "model.keras")
    assert set(model.input) == {
        *("token_ids", "length", "memory", "memory_length")
    }
    # What validation has otherwise is not in it.
    assert model.input["memory"].shape == (None, 1, MEMORY_LENGTH, 32)
    description = json.loads((Path(options.run_dir) / "model.json").read_text())
    assert description["builder"] == "build_transformer_xl"
    assert description["arguments"]["memory_length"] == MEMORY_LENGTH
    # Export serves the model as it was validated.
    assert description["evaluation"] == options.evaluation
    assert models.build(description).count_params() == model.count_params()


def test_evaluation_equals_the_validation_of_training(options, result):
    # The text is the same, and the model the best.
    best = min(row["val_bits_per_token"] for row in result.history)
    bits = score(options, batch_size=BATCH_SIZE).bits_per_token
    assert bits == pytest.approx(best, rel=1e-5)


def test_evaluation_equals_the_model_by_hand(options, result, files):
    """One row, segment by segment, through the functional model."""
    ids = [byte + 5 for byte in (files / "held_out.txt").read_bytes()] + [3]
    inputs = np.array([[2, *ids[:-1]]], "int32")
    model = keras.saving.load_model(Path(options.run_dir) / "model.keras")
    variant = models.transformer_xl_variant(
        model, memory_length=7, attention_window=5, clamp_length=4
    )
    memory = models.initial_memory(variant, 1)
    nats = 0.0
    for start in range(0, len(ids), 9):
        piece = inputs[:, start : start + 9]
        outputs = variant(
            {
                "token_ids": piece,
                "length": np.array([piece.shape[1]], "int32"),
                **memory,
            }
        )
        memory = {name: outputs[name] for name in memory}
        log_probs = np.asarray(outputs["log_probs"])[0]
        targets = ids[start : start + 9]
        nats -= log_probs[np.arange(len(targets)), targets].sum()
    found = score(
        options,
        batch_size=1,
        segment_length=9,
        memory_length=7,
        attention_window=5,
        clamp_length=4,
    )
    assert found.tokens == len(ids) == 277
    assert (found.bytes, found.characters) == (276, 275)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.bits_per_character == pytest.approx(
        found.nats / math.log(2) / 275
    )


def test_segments_do_not_matter_where_there_is_a_window(options, result):
    nats = [
        score(options, batch_size=3, segment_length=length).nats
        for length in (5, 64)
    ]
    assert nats[1] == pytest.approx(nats[0], rel=1e-5)
    # Without one, positions at the end of a segment see more.
    free = score(
        options, batch_size=3, segment_length=64, attention_window=0
    ).nats
    assert abs(free - nats[0]) > 1e-2


def test_memory_helps(options, result):
    assert score(options).nats < 0.8 * score(options, memory_length=0).nats


def test_windows_side_by_side_are_segments_without_memory(options, result):
    windows = score(options, method="sliding_window", window_length=9, stride=9)
    segments = score(options, batch_size=1, segment_length=9, memory_length=0)
    assert windows.nats == pytest.approx(segments.nats, rel=1e-5)
    # Each token once more, with all of a window before it.
    exact = score(options, method="sliding_window", window_length=9, stride=1)
    assert exact.tokens == windows.tokens
    assert exact.nats < windows.nats


def test_xla_gives_the_same(options, result):
    assert score(options, jit_compile=True).nats == pytest.approx(
        score(options).nats, rel=1e-5
    )


def test_report_works(options, result, capsys):
    comparison = report.report(evaluate.Options(run_dir=options.run_dir))
    assert comparison["model"] == pytest.approx(score(options).bits_per_byte)
    assert "this model" in capsys.readouterr().out


def test_validation_sees_what_training_does_unless_told(options):
    def evaluation(**arguments):
        none = dict.fromkeys(
            ["eval_segment_length", "eval_memory_length", "clamp_length"]
        )
        return dataclasses.replace(options, **none | arguments).evaluation

    assert evaluation() == {
        "segment_length": 8,
        "memory_length": 10,
        "attention_window": 10,
        "clamp_length": None,
    }
    # As the authors have it: together as long as in training.
    assert evaluation(eval_segment_length=3)["memory_length"] == 15
    assert evaluation(memory_length=None)["memory_length"] == 8
    without = evaluation(memory_length=0)
    assert (without["memory_length"], without["attention_window"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"memory_length": -1},
            "`memory_length` must not be negative. Received: memory_length=-1.",
        ),
        (
            {"eval_memory_length": -1},
            "`eval_memory_length` must not be negative. "
            "Received: eval_memory_length=-1.",
        ),
        *(
            (
                {name: 0},
                f"`{name}` must be positive. Received: {name}=0.",
            )
            for name in (
                *("segment_length", "eval_segment_length", "clamp_length"),
            )
        ),
        *(
            (
                {"cutoffs": cutoffs},
                "`cutoffs` must be positive and increase. "
                f"Received: cutoffs={cutoffs}.",
            )
            for cutoffs in ((20, 10), (10, 10), (0, 10))
        ),
        (
            {"positions": "rotary"},
            "`positions` of a transformer_xl must be one of ('relative',). "
            "Received: positions='rotary'.",
        ),
    ],
)
def test_rejects_options(options, arguments, message):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(options, **arguments)
    assert str(error.value) == message


def test_cutoffs_beyond_the_vocabulary_are_refused(options, tmp_path):
    run_dir = tmp_path / "none"
    with pytest.raises(ValueError) as error:
        train.train(
            dataclasses.replace(
                options, run_dir=str(run_dir), cutoffs=(100, 261)
            )
        )
    assert str(error.value) == (
        "`cutoffs` must be less than the number of tokens. "
        "Received: cutoffs=(100, 261), num_tokens=261."
    )
    assert not run_dir.exists()


def test_files_shorter_than_a_row_of_segments_are_refused(options, files):
    tiny = files / "tiny.txt"
    tiny.write_bytes(b"short")
    with pytest.raises(ValueError) as error:
        train.train(
            dataclasses.replace(
                options,
                run_dir=str(files / "none"),
                train_files=(str(tiny),),
            )
        )
    assert str(error.value) == (
        "`train_files` must have `batch_size` segments of `segment_length` "
        f"tokens. Received: train_files={(str(tiny),)!r}, batch_size=4, "
        "segment_length=8, num_tokens=6."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"memory_length": -1},
            "`memory_length` must not be negative. Received: memory_length=-1.",
        ),
        (
            {"window_length": 8},
            "`window_length` must be none where `method` is stream. "
            "Received: window_length=8.",
        ),
        (
            {"num_hashes": 2},
            "`num_hashes` must be none where `method` is stream. "
            "Received: num_hashes=2.",
        ),
        (
            {"method": "sliding_window", "memory_length": 8},
            "`memory_length` must be none where `method` is sliding_window. "
            "Received: memory_length=8.",
        ),
    ],
)
def test_evaluate_rejects(options, result, arguments, message):
    with pytest.raises(ValueError) as error:
        score(options, **arguments)
    assert str(error.value) == message


def test_a_run_goes_on_with_no_other_validation(options, result):
    with pytest.raises(ValueError, match="must not hold a run on other data"):
        train.train(dataclasses.replace(options, eval_memory_length=64))


# Each epoch of the text is longer than the run: no row begins anew after the
# step that is cut off at.
ARGV = [
    *("--model=transformer_xl", "--num_layers=1", "--hidden_dim=16"),
    *("--num_heads=2", "--intermediate_dim=16", "--dropout=0.1"),
    *("--segment_length=8", "--batch_size=4", "--train_steps=8"),
    *("--save_every_steps=6", "--log_every_steps=0", "--keep_checkpoints=2"),
]


@pytest.fixture(scope="module")
def server():
    with program_server("tests.apps.language_model_program") as process:
        yield process


@pytest.fixture(scope="module")
def run(server, files, tmp_path_factory):
    """A function that trains and returns exit code and stderr."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    paths = [
        f"--train_files={files / 'train.txt'}",
        f"--validation_files={files / 'held_out.txt'}",
    ]

    def run(run_dir, *argv):
        argv = [*ARGV, *paths, f"--run_dir={run_dir}", *argv]
        return run_program(server, log, argv)

    return run


@pytest.mark.parametrize(
    "argv",
    [
        [],
        # Compiling the validation too would take longer than the rest.
        [
            *("--jit_compile=on", "--dtype_policy=mixed_float16"),
            "--validation_files=",
        ],
        ["--strategy=mirrored", "--devices=cpu:0,cpu:1"],
    ],
    ids=["plain", "xla", "mirrored"],
)
def test_a_run_cut_off_with_its_memory_ends_with_the_same_bits(
    run, tmp_path, argv
):
    code, log = run(tmp_path / "unbroken", *argv)
    assert code == 0, log
    # In the middle of an epoch: memory, dropout and metrics go on.
    code, log = run(tmp_path / "cut", *argv, "--fault=term:4")
    assert code == 75, log
    assert checkpoint_steps(tmp_path / "cut") == [4]
    with np.load(tmp_path / "cut" / "checkpoints" / "4" / "state.npz") as state:
        rows = (2, 2) if "--strategy=mirrored" in argv else (4,)
        assert state["model/memory"].shape == (*rows, 1, 8, 16)
        assert state["model/memory"].any(axis=(-1, -2, -3)).all()
    code, log = run(tmp_path / "cut", *argv)
    assert code == 0, log
    assert checkpoint_steps(tmp_path / "unbroken") == [6, 8]
    assert_same_end(tmp_path / "cut", tmp_path / "unbroken")

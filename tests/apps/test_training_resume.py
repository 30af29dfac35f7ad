"""Tests that a training which is cut off anywhere ends as an unbroken one.

All runs are processes of their own, with op determinism on, and really die.
"""

import numpy as np
import pytest

from tests.apps.program_server import program_server
from tests.apps.program_server import run_program
from tests.apps.run_contents import assert_same_end
from tests.apps.run_contents import checkpoint_steps
from tests.apps.run_contents import read_best_model
from tests.apps.run_contents import read_checkpoint
from tests.apps.run_contents import read_history

# Every epoch of 6 steps is validated; learning noise by heart, the validation
# loss is the best at step 12 and early stopping ends the run.
ARGV = [
    "--train_steps=60",
    "--save_every_steps=6",
    "--batch_size=8",
    "--learning_rate=0.1",
    "--schedule=inverse_sqrt",
    "--warmup_steps=4",
    "--early_stopping_patience=3",
    "--keep_checkpoints=2",
    "--log_every_steps=0",
]


@pytest.fixture(scope="module")
def server():
    with program_server("tests.apps.training_program") as process:
        yield process


@pytest.fixture(scope="module")
def run(server, tmp_path_factory):
    """A function that runs the program and returns exit code and stderr."""
    log = tmp_path_factory.mktemp("log") / "log.txt"

    def run(run_dir, *argv):
        return run_program(server, log, [*ARGV, f"--run_dir={run_dir}", *argv])

    return run


@pytest.fixture(scope="module")
def unbroken(run, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("unbroken")
    code, log = run(run_dir, "--keep_checkpoints=100")
    assert code == 0, log
    return run_dir


def test_the_unbroken_run_has_what_the_others_are_tested_on(unbroken):
    steps = checkpoint_steps(unbroken)
    assert steps == list(range(6, 31, 6))
    manifest, arrays = read_checkpoint(unbroken, 30)
    assert manifest["stopped_because"] == "early_stopping"
    assert manifest["callbacks"]["BestModel#1"]["best_step"] == 12
    assert manifest["callbacks"]["EarlyStopping#1"]["wait"] == 3
    assert len(read_history(unbroken)) == 1 + len(steps)
    _, before = read_checkpoint(unbroken, 24)
    # All of it moves, or equality would say little.
    assert all(arrays[name] != before[name] for name in arrays)
    assert "model/noisy_mean/mean" in arrays
    assert "model/seed_generator/seed_generator_state" in arrays
    assert "optimizer/adamw/dense_kernel_velocity" in arrays


def test_a_run_killed_anywhere_ends_with_the_same_bits(run, unbroken, tmp_path):
    faults = [
        # Before there is a checkpoint.
        "kill_within:model.keras:1",
        "kill_within:history.csv:1",
        "kill_before:/6:1",
        "kill_after:/6:1",
        # From step 6.
        "kill:9",
        "kill_validating:12",
        # Between the best model and the checkpoint that knows of it.
        "kill_after:model.keras:1",
        "kill_within:state.npz:1",
        "kill_within:manifest.json:2",
        # From step 12, which stays the best: while old ones are deleted.
        "kill_after:.aside-old-6:1",
        # From step 18.
        "kill:29",
    ]
    for fault in faults:
        code, log = run(tmp_path, f"--fault={fault}")
        assert code == -9, (fault, log)
    code, log = run(tmp_path)
    assert code == 0, log
    assert_same_end(tmp_path, unbroken)


def test_a_run_stopped_by_sigterm_ends_with_the_same_bits(
    run, unbroken, tmp_path
):
    # In the middle of an epoch, twice in one; then at its end; while it is
    # validated; and at the end of the run.
    for step, fault in [
        (2, "term:2"),
        (5, "term:5"),
        (12, "term:12"),
        (18, "term_validating:18"),
    ]:
        code, log = run(tmp_path, f"--fault={fault}")
        assert code == 75, log
        message = (
            f"SIGTERM at step {step}: the state is saved, the same command "
            "goes on"
        )
        assert message in log
        assert checkpoint_steps(tmp_path)[-1] == step
    code, log = run(tmp_path)
    assert code == 0, log
    assert "training is over at step 30: early_stopping" in log
    assert_same_end(tmp_path, unbroken)


@pytest.mark.parametrize(
    "argv",
    [
        ["--jit_compile=on", "--optimizer=sgd", "--beta_1=0.9"],
        ["--dtype_policy=mixed_float16", "--optimizer=lion"],
        ["--strategy=mirrored", "--devices=cpu:0,cpu:1"],
    ],
    ids=["xla", "mixed_float16", "mirrored"],
)
def test_other_ways_to_compute_resume_with_the_same_bits(run, tmp_path, argv):
    argv = [*argv, "--train_steps=14"]
    code, log = run(tmp_path / "unbroken", *argv)
    assert code == 0, log
    # In the middle of an epoch, so that the metrics are restored too.
    code, log = run(tmp_path / "cut", *argv, "--fault=term:9")
    assert code == 75, log
    code, log = run(tmp_path / "cut", *argv)
    assert code == 0, log
    # 14 is no multiple of 6: the last epoch is a short one.
    assert checkpoint_steps(tmp_path / "unbroken") == [12, 14]
    assert_same_end(tmp_path / "cut", tmp_path / "unbroken")
    assert len(read_history(tmp_path / "cut")) == 4


def test_two_devices_learn_what_one_learns(run, tmp_path):
    argv = ["--train_steps=12", "--dropout=0"]
    mirrored = ["--strategy=mirrored", "--devices=cpu:0,cpu:1"]
    for folder, more in (("one", []), ("two", mirrored)):
        code, log = run(tmp_path / folder, *argv, *more)
        assert code == 0, log
    one, two = [
        np.load(tmp_path / folder / "checkpoints" / "12" / "state.npz")
        for folder in ("one", "two")
    ]
    assert set(one) == set(two)
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)
    rows = [read_history(tmp_path / folder)[-1] for folder in ("one", "two")]
    one, two = [np.fromstring(row, sep=",") for row in rows]
    np.testing.assert_allclose(one, two, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_and_saves_nothing(run, tmp_path):
    # The weights go bad behind step 8, which the loss of step 9 shows.
    code, log = run(tmp_path, "--fault=poison:8")
    last_good = tmp_path / "checkpoints" / "6"
    assert code == 70
    assert log.endswith(
        "Error: The loss is not finite at step 9. "
        f"Last good checkpoint: {last_good}.\n"
    )
    best = read_best_model(tmp_path)
    # Behind the last step of an epoch, no loss shows it.
    code, log = run(tmp_path, "--fault=poison:12")
    assert code == 70
    assert log.endswith(
        "Error: The variable dense_1/bias is not finite at step 12. "
        f"Last good checkpoint: {last_good}.\n"
    )
    # SIGTERM must not save it either.
    code, log = run(tmp_path, "--fault=poison_and_term:8")
    assert code == 70
    assert checkpoint_steps(tmp_path) == [6]
    assert read_best_model(tmp_path) == best
    assert len(read_history(tmp_path)) == 2


def test_bad_input_is_one_line_and_code_1(run, tmp_path):
    code, log = run(tmp_path, "--batch_size=0")
    assert code == 1
    error = "Error: `batch_size` must be at least 1. Received: batch_size=0.\n"
    # TensorFlow may complain about missing GPUs before it.
    assert log.endswith(error)
    assert "Traceback" not in log
    assert not any(tmp_path.iterdir())


def test_help_lists_the_flags_of_the_program(run, tmp_path):
    code, log = run(tmp_path, "--help")
    # As absl has it.
    assert code == 1
    assert "training_program.py:\n" in log
    assert (
        "  --schedule: How the learning rate falls after the warm-up. Linear "
        "and cosine\n"
    ) in log
    assert "    (<constant|linear|cosine|inverse_sqrt>)\n" in log

"""Tests of apps.training.fit within one process.

That a run which dies goes on with the same bits, test_training_resume tests.
"""

import dataclasses
import importlib.util
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.training import NonFiniteError
from apps.training import RunDirectory
from keras_xf.callbacks.history_file import read_history
from tests.apps import training_program


@pytest.fixture
def options(tmp_path):
    return training_program.Options(
        run_dir=str(tmp_path / "run"),
        train_steps=6,
        save_every_steps=3,
        batch_size=8,
        schedule="constant",
        log_every_steps=0,
        # It could not be turned off again for the tests behind these.
        deterministic=False,
    )


def train(options, **changes):
    """Trains with changed options and, where they are none, arguments."""
    names = {field.name for field in dataclasses.fields(options)}
    arguments = {n: changes.pop(n) for n in set(changes) - names}
    options = dataclasses.replace(options, **changes)
    return training_program.train(options, **arguments)


def test_a_program_adds_files_to_a_run_that_is_its_own(options):
    def write_files(folder):
        (folder / "names.txt").write_text("added")

    train(options, write_files=write_files)
    path = RunDirectory(options.run_dir).path / "names.txt"
    assert path.read_text() == "added"
    path.unlink()
    with pytest.raises(ValueError):
        train(options, seed=7, write_files=write_files)
    assert not path.exists()


def weights_of(path):
    return keras.saving.load_model(path, compile=False).get_weights()


def assert_all_equal(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def test_a_run_leaves_its_files_and_can_be_prolonged(options):
    first = train(options, tensorboard=True)
    run = RunDirectory(options.run_dir)
    assert (first.step, first.stopped_because) == (6, "finished")
    assert 0 < first.training_seconds < 600
    assert first.history == read_history(run.history)
    assert [row["step"] for row in first.history] == [3, 6]
    expected = {
        "accuracy",
        "learning_rate",
        "loss",
        "step",
        "training_seconds",
        "val_accuracy",
        "val_loss",
    }
    assert set(first.history[0]) == expected
    assert sorted(path.name for path in run.path.iterdir()) == [
        "checkpoints",
        "history.csv",
        "logs",
        "model.json",
        "model.keras",
        "options.flags",
    ]
    assert run.read_model_json() == {
        "builder": "tiny",
        "arguments": {"dropout": 0.3},
    }

    # Started again, it is over already.
    again = train(options)
    assert (again.step, again.stopped_because) == (6, "finished")
    assert again.history == first.history
    assert_all_equal(again.model.get_weights(), first.model.get_weights())

    # With more steps it goes on, and is what it had been with them at once.
    longer = train(options, train_steps=10)
    at_once = train(
        options, train_steps=10, run_dir=options.run_dir + "_at_once"
    )
    assert (longer.step, longer.stopped_because) == (10, "finished")
    assert [row["step"] for row in longer.history] == [3, 6, 9, 10]
    assert_all_equal(longer.model.get_weights(), at_once.model.get_weights())
    assert longer.training_seconds > first.training_seconds


def test_without_validation_the_last_model_is_kept(options):
    result = train(options, make_validation_set=None, make_metrics=None)
    assert set(result.history[0]) == {
        "learning_rate",
        "loss",
        "step",
        "training_seconds",
    }
    path = RunDirectory(options.run_dir).model
    assert_all_equal(weights_of(path), result.model.get_weights())


def test_more_is_better_where_the_monitor_says_so(options):
    result = train(
        options,
        train_steps=9,
        learning_rate=0.1,
        monitor="val_accuracy",
        monitor_mode="max",
    )
    accuracies = [row["val_accuracy"] for row in result.history]
    # Else the test would say nothing.
    assert accuracies.index(max(accuracies)) < 2
    path = RunDirectory(options.run_dir).model
    best = keras.saving.load_model(path, compile=False)
    x, labels = training_program.examples(seed=7, count=16)
    logits = best({"x": x})["logits"]
    accuracy = np.mean(np.argmax(logits, axis=-1) == labels)
    np.testing.assert_allclose(accuracy, max(accuracies))


def test_time_ends_a_run_at_a_checkpoint(options):
    # The second epoch would take as long as the first, and that is too long.
    result = train(options, max_train_seconds=1e-3)
    assert (result.step, result.stopped_because) == (3, "time")
    again = train(options, max_train_seconds=1e-3)
    assert (again.step, again.stopped_because) == (3, "time")
    more = train(options, max_train_seconds=600.0)
    assert (more.step, more.stopped_because) == (6, "finished")


def test_a_callback_can_end_a_run_and_keeps_its_state(options):
    class Stop(keras.callbacks.Callback):
        def __init__(self, patience):
            super().__init__()
            self.patience = patience
            self.counts = {"epochs": 0, "values": [np.float32(0.1)]}

        def on_epoch_end(self, epoch, logs=None):
            self.counts["epochs"] += 1
            self.model.stop_training = self.counts["epochs"] >= self.patience

    def fit(patience, train_steps):
        stop = Stop(patience)
        changed = dataclasses.replace(options, train_steps=train_steps)
        result = training_program.train(changed, callbacks=[stop])
        return result.step, result.stopped_because, stop

    step, because, _ = fit(patience=9, train_steps=6)
    assert (step, because) == (6, "finished")
    # It has counted two epochs before this process, and goes on.
    step, because, stop = fit(patience=3, train_steps=60)
    assert (step, because) == (9, "callback")
    assert stop.counts == {"epochs": 3, "values": [np.float32(0.1)]}
    assert stop.patience == 3
    step, because, _ = fit(patience=3, train_steps=60)
    assert (step, because) == (9, "callback")


def test_a_new_run_begins_with_the_weights_of_another(options):
    train(options, train_steps=3)
    source = RunDirectory(options.run_dir).model
    changes = {
        "run_dir": options.run_dir + "_new",
        "init_from": str(source),
        # Too little to be seen in float32.
        "learning_rate": 1e-30,
        "train_steps": 3,
    }
    new = train(options, **changes)
    for variable, expected in zip(
        new.model.weights, weights_of(source), strict=True
    ):
        if variable.trainable:
            np.testing.assert_array_equal(variable, expected)
    # Where it goes on, it keeps its own.
    longer = train(options, **{**changes, "init_from": "gone", "seed": 0})
    assert_all_equal(longer.model.get_weights(), new.model.get_weights())


def test_other_data_is_refused(options):
    fingerprint = {"files": ["a"], "sha256": "12", "length": 8}
    train(options, train_steps=3, data_fingerprint=fingerprint)
    other = {"files": ["a"], "sha256": "34", "width": 8}
    with pytest.raises(ValueError) as error:
        train(options, data_fingerprint=other)
    assert str(error.value) == (
        "`run_dir` must not hold a run on other data. These differ, there and "
        "here. Received: sha256=('12', '34'), length=(8, 'missing'), "
        "width=('missing', 8)."
    )
    # Nothing of the refused run is left.
    assert "--train_steps=3\n" in (
        RunDirectory(options.run_dir).options.read_text()
    )


def test_a_model_of_other_variables_is_refused(options):
    train(options, train_steps=3, dropout=0.0)

    def make_model():
        x = keras.Input((training_program.DIM,), name="x")
        logits = keras.layers.Dense(training_program.NUM_CLASSES)(x)
        return keras.Model({"x": x}, {"logits": logits})

    with pytest.raises(ValueError) as error:
        train(options, make_model=make_model, dropout=0.0)
    adam = "optimizer/adamw/dense"
    extra = [
        "model/dense/bias#2",
        "model/dense/kernel#2",
        f"{adam}_bias_momentum#2",
        f"{adam}_bias_velocity#2",
        f"{adam}_kernel_momentum#2",
        f"{adam}_kernel_velocity#2",
    ]
    kernel = "float32 (6, 16), not float32 (6, 4)"
    bias = "float32 (16,), not float32 (4,)"
    different = [
        f"model/dense/bias: {bias}",
        f"model/dense/kernel: {kernel}",
        f"{adam}_bias_momentum: {bias}",
        f"{adam}_bias_velocity: {bias}",
        f"{adam}_kernel_momentum: {kernel}",
        f"{adam}_kernel_velocity: {kernel}",
    ]
    assert str(error.value) == (
        "The checkpoint must hold the variables of the model. Received: "
        f"missing=[], extra={extra}, different={different}."
    )


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("is_known", [True, False])
def test_data_that_ends_too_early_is_refused(options, is_known):
    def make_train_set(first_step):
        batches = training_program.make_train_set(first_step).take(5)
        return batches if is_known else batches.filter(lambda x, y: True)

    with pytest.raises(ValueError) as error:
        train(options, make_train_set=make_train_set)
    received = "first_step=0, batches=5, steps=6" if is_known else "last_step=5"
    assert str(error.value) == (
        f"`make_train_set` must give batches for all steps. "
        f"Received: {received}."
    )
    run = RunDirectory(options.run_dir)
    steps = [path.name for path in run.checkpoints.glob("*")]
    assert steps == ([] if is_known else ["3"])


@pytest.mark.parametrize(
    ("make", "batches"),
    [(lambda data: data.repeat(), "'endless'"), (lambda data: data.take(0), 0)],
)
def test_a_validation_set_without_end_or_batch_is_refused(
    options, make, batches
):
    data = training_program.make_validation_set()
    with pytest.raises(ValueError) as error:
        train(options, make_validation_set=lambda: make(data))
    assert str(error.value) == (
        "`make_validation_set` must return a finite set that has a batch. "
        f"Received: batches={batches}."
    )


def test_a_validation_set_of_unknown_size_is_counted(options):
    def make_validation_set():
        data = training_program.make_validation_set()
        return data.filter(lambda x, y: True)

    # Keras would warn, and warnings are errors here.
    result = train(options, make_validation_set=make_validation_set)
    assert "val_loss" in result.history[0]


def test_early_stopping_needs_validation(options):
    with pytest.raises(ValueError) as error:
        train(options, early_stopping_patience=1, make_validation_set=None)
    assert str(error.value) == (
        "`early_stopping_patience` must be none without a validation set. "
        "Received: early_stopping_patience=1."
    )


def test_it_trains_in_other_threads_too(options):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(options)))
    thread.start()
    thread.join()
    assert results[0].step == 6


@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile")
def test_xla_is_not_left_out_in_silence(options):
    def make_model():
        model = training_program.make_model(0.0)
        model.layers[1].supports_jit = False
        return model

    with pytest.raises(ValueError) as error:
        train(options, jit_compile="on", make_model=make_model)
    assert str(error.value) == (
        "`jit_compile` must not be on where a layer does not support it, or "
        "determinism was turned on before in this process. "
        "Received: jit_compile='on'."
    )


def validation_sets(bad_from):
    """Makes a set whose weights are no numbers from a reading on.

    Of inputs that are none a fused ReLU makes 0 on some processors.
    """
    counter = iter(range(100))

    def make():
        def read():
            x, labels = training_program.examples(seed=7, count=16)
            bad = next(counter) >= bad_from
            weights = np.full(16, np.nan if bad else 1.0, "float32")
            yield {"x": x}, {"logits": labels}, {"logits": weights}

        data = tf.data.Dataset.from_generator(
            read,
            output_signature=(
                {"x": tf.TensorSpec((16, training_program.DIM))},
                {"logits": tf.TensorSpec((16,), tf.int64)},
                {"logits": tf.TensorSpec((16,))},
            ),
        )
        return data.apply(tf.data.experimental.assert_cardinality(1))

    return make


def test_a_validation_without_numbers_stops_and_saves_nothing(options):
    with pytest.raises(NonFiniteError) as error:
        train(options, make_validation_set=validation_sets(bad_from=1))
    run = RunDirectory(options.run_dir)
    assert str(error.value) == (
        "The val_loss is not finite at step 6. "
        f"Last good checkpoint: {run.checkpoints / '3'}."
    )
    assert [row["step"] for row in read_history(run.history)] == [3]
    assert [path.name for path in run.checkpoints.iterdir()] == ["3"]


def test_a_monitor_without_numbers_stops(options):
    class Infinite(keras.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(keras.ops.log(0.0))

    with pytest.raises(NonFiniteError) as error:
        train(
            options,
            make_metrics=lambda: {"logits": [Infinite(name="bits")]},
            monitor="val_bits",
        )
    assert str(error.value) == (
        "The val_bits is not finite at step 3. Last good checkpoint: none."
    )
    assert not RunDirectory(options.run_dir).model.exists()


def test_a_refused_run_leaves_no_directory(options):
    with pytest.raises(ValueError, match="init_from"):
        train(options, init_from="gone")
    assert not RunDirectory(options.run_dir).path.exists()


def test_a_damaged_history_is_named(options):
    train(options, train_steps=3)
    path = RunDirectory(options.run_dir).history
    for damaged, cause in [
        (
            "step,loss\n3,x\n",
            "ValueError: could not convert string to float: 'x'",
        ),
        ("loss\n3\n", "KeyError: 'step'"),
        ('step,loss\n"3,1\n', "Error: unexpected end of data"),
    ]:
        path.write_text(damaged)
        with pytest.raises(ValueError) as error:
            train(options)
        assert str(error.value) == (
            "`path` must be a CSV file of numbers with a column step. "
            f"Received: path={str(path)!r}, error={cause!r}."
        )


def test_tensorboard_is_asked_for_before_the_work(options, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "tensorboard" else find(name),
    )
    with pytest.raises(ValueError) as error:
        train(options, tensorboard=True)
    assert str(error.value) == (
        "`tensorboard` needs TensorBoard: pip install 'keras_xf[apps]'. "
        "Received: tensorboard=True."
    )


def test_a_clock_that_stands_still_gives_no_speed(options, monkeypatch, capsys):
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    train(options, log_every_steps=1)
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("step ")]) == 8
    assert not any("steps/s" in line for line in lines)


def test_the_time_left_heeds_the_limit(options, monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class Slow(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            now[0] += 10.0

    train(
        options,
        log_every_steps=1,
        max_train_seconds=45.0,
        callbacks=[Slow()],
    )
    lines = capsys.readouterr().err.splitlines()
    ends = [line.rpartition("| ")[2] for line in lines if "step 2/6" in line]
    # Four more steps take 40 seconds, and 20 of 45 are over.
    assert ends == ["0:00:25 left"]

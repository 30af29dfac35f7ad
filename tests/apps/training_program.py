"""A tiny training program that can be told to die, and a server that runs it.

Importing TensorFlow takes seconds. The server does it once, without using it,
and forks for each run: a fork is a process of its own, with its own devices,
determinism and death.
"""

import contextlib
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from apps.training import TrainingOptions
from apps.training import fit
from keras_xf.launch import launch
from keras_xf.launch import option

NUM_CLASSES = 4
DIM = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """Options with a fault to plant.

    `fault` is `<what>:<where>`; see `plant` below.
    """

    dropout: float = option("Dropout.", 0.3)
    fault: str | None = option("What goes wrong.", None)


@keras.saving.register_keras_serializable(package="tests")
class NoisyMean(keras.layers.Layer):
    """Has all kinds of state: a moving statistic and the state of a seed."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        self.mean = self.add_weight(
            shape=(input_shape[-1],),
            initializer="zeros",
            trainable=False,
            name="mean",
        )

    def call(self, inputs, training=False):
        if training:
            average = tf.distribute.get_replica_context().all_reduce(
                "MEAN", keras.ops.mean(inputs, axis=0)
            )
            self.mean.assign(0.9 * self.mean + 0.1 * average)
            inputs = keras.random.dropout(
                inputs, self.rate, seed=self.seed_generator
            )
        return inputs - self.mean

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def make_model(dropout):
    x = keras.Input((DIM,), name="x")
    hidden = keras.layers.Dense(16, activation="relu")(x)
    if dropout:
        hidden = NoisyMean(dropout)(hidden)
    logits = keras.layers.Dense(NUM_CLASSES, dtype="float32")(hidden)
    return keras.Model({"x": x}, {"logits": logits})


def examples(seed, count):
    """Noise: there is nothing to learn but the examples themselves."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, DIM)).astype("float32")
    return x, generator.integers(0, NUM_CLASSES, count)


def make_train_set(first_step, batch_size=8):
    """Shuffled batches as a function of the step alone."""
    x, labels = map(tf.constant, examples(seed=1, count=32))

    def make_batch(step):
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(32), seed=[7, tf.cast(step, tf.int32)]
        )
        chosen = shuffled[:batch_size]
        return (
            {"x": tf.gather(x, chosen)},
            {"logits": tf.gather(labels, chosen)},
        )

    return tf.data.Dataset.counter(first_step).map(make_batch)


def make_validation_set(batch_size=8):
    x, labels = examples(seed=7, count=16)
    pairs = ({"x": x}, {"logits": labels})
    return tf.data.Dataset.from_tensor_slices(pairs).batch(batch_size)


def train(options, **arguments):
    """Trains the tiny model; `arguments` reach `fit`."""
    arguments = {
        "model_json": {
            "builder": "tiny",
            "arguments": {"dropout": options.dropout},
        },
        "make_model": lambda: make_model(options.dropout),
        "make_train_set": lambda first_step: make_train_set(
            first_step, options.batch_size
        ),
        "loss": {
            "logits": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        },
        "make_metrics": lambda: {"logits": ["accuracy"]},
        "make_validation_set": lambda: make_validation_set(options.batch_size),
        **arguments,
    }
    with plant(options.fault) as callbacks:
        return fit(options, **{"callbacks": callbacks, **arguments})


class Fault(keras.callbacks.Callback):
    """Does something at a step, or in a validation after it."""

    def __init__(self, at_step, act, in_validation=False):
        super().__init__()
        self._at_step = at_step
        self._act = act
        self._in_validation = in_validation
        self._step = None

    def on_train_batch_end(self, batch, logs=None):
        self._step = logs["step"]
        if self._step == self._at_step and not self._in_validation:
            self._act(self.model)

    def on_test_batch_end(self, batch, logs=None):
        if self._step == self._at_step and self._in_validation:
            self._act(self.model)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def ask_to_stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)


def poison(model):
    # Not a layer before the ReLU: fused, it makes 0 of NaN on some processors.
    variable = model.trainable_variables[-1]
    variable.assign(np.full(variable.shape, np.nan, "float32"))


@contextlib.contextmanager
def plant(fault):
    """Plants a fault and returns the callbacks that belong to it.

    - `kill:9`, `term:9`, `poison:9`, `poison_and_term:9`: after step 9;
    - `kill_validating:6`, `term_validating:6`: in the validation after step 6;
    - `kill_before:model.keras:2`, `kill_after:...`: before or after the second
      renaming to a path that ends so;
    - `kill_within:state.npz:2`: when the second file of that name is half
      written.
    """
    what, _, where = (fault or "").partition(":")
    acts = {
        "kill": die,
        "term": ask_to_stop,
        "poison": poison,
        "poison_and_term": lambda model: (poison(model), ask_to_stop()),
    }
    act = what.removesuffix("_validating")
    if act in acts:
        yield [Fault(int(where), acts[act], in_validation=act != what)]
        return
    if fault:
        name, _, count = where.partition(":")
        _plant_in_files(what, name, int(count))
    yield []


def _plant_in_files(what, name, count):
    """Replaces the functions that all writers of files go through."""
    rename, sync = os.replace, os.fsync
    left = {"count": count}

    def is_it(path):
        left["count"] -= str(path).endswith(name)
        return left["count"] == 0 and str(path).endswith(name)

    def replace(source, target):
        it = what != "kill_within" and is_it(target)
        if it and what == "kill_before":
            die()
        rename(source, target)
        if it:
            die()

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if what == "kill_within" and is_it(path):
            os.truncate(path, path.stat().st_size // 2)
            die()
        sync(descriptor)

    os.replace, os.fsync = replace, fsync


def serve(options_type, program):
    """Runs the command lines that arrive as JSON, one a line, one by one.

    Each is `{"argv": [...], "log": path}`. The answer is its exit code,
    negative for the signal it died of.

    Args:
        options_type: As `launch` takes it.
        program: The same.
    """
    for line in sys.stdin:
        command = json.loads(line)
        process = os.fork()
        if not process:
            _run(command, options_type, program)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(command, options_type, program):
    """Runs one command in a forked process, which ends here."""
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    code = 1
    try:
        launch(
            options_type, program, argv=["training_program", *command["argv"]]
        )
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(Options, train)

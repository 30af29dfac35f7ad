"""Training through `model.fit`, which can be cut off anywhere and goes on."""

import dataclasses
import importlib.util
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Literal

import keras
import tensorflow as tf
from absl import logging

from apps.training import devices
from apps.training import state
from apps.training.checkpointing import Checkpointing
from apps.training.checkpoints import Checkpoint
from apps.training.checkpoints import Checkpoints
from apps.training.compiled_model import make_compiled_model
from apps.training.epochs import run_epochs
from apps.training.guard import Guard
from apps.training.initial_weights import load_initial_weights
from apps.training.options import TrainingOptions
from apps.training.run_directory import RunDirectory
from apps.training.run_directory import as_json
from apps.training.run_directory import check_equal
from apps.training.sigterm import Sigterm
from keras_xf import models
from keras_xf.callbacks import BestModel
from keras_xf.callbacks import HistoryFile
from keras_xf.callbacks import Progress
from keras_xf.callbacks import TensorBoardScalars
from keras_xf.callbacks import TrainingClock
from keras_xf.checks import check


@dataclasses.dataclass(frozen=True)
class Result:
    """What a training has come to.

    Attributes:
        model: The functional model with its last weights; the best are in
            `model.keras`.
        step: Steps done.
        history: The rows of `history.csv`.
        training_seconds: Time in `fit`, over all starts of the run, without
            what was lost when one was cut off.
        stopped_because: `"finished"`, `"early_stopping"`, `"time"` or
            `"callback"`.
    """

    model: keras.Model
    step: int
    history: list[dict[str, float]]
    training_seconds: float
    stopped_because: str


def fit(
    options: TrainingOptions,
    *,
    model_json: dict,
    make_train_set: Callable[[int], tf.data.Dataset],
    loss: Any,
    make_metrics: Callable[[], Any] | None = None,
    make_model: Callable[[], keras.Model] | None = None,
    make_groups: Callable[[], dict | None] = lambda: None,
    make_validation_set: Callable[[], tf.data.Dataset] | None = None,
    monitor: str = "val_loss",
    monitor_mode: Literal["min", "max"] = "min",
    data_fingerprint: dict | None = None,
    write_files: Callable[[Path], None] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Trains a model in a run directory, or goes on where it was cut off.

    Every `options.save_every_steps` steps, counted from step 0, make one epoch
    for Keras. After each the model is validated, `history.csv` gets a row,
    `model.keras` is replaced if the model is the best so far (without a
    validation set: each time), and a checkpoint of the whole state is written.
    A process may die at any moment, also while it writes: the same call then
    goes on from the newest whole checkpoint, and with `options.deterministic`
    ends with the same bits as if nothing had happened. SIGTERM saves after the
    step (or the validation) in progress, also within an epoch, and raises
    `Preempted`.

    `training_seconds` of the history, and with `max_train_seconds` the end, are
    what time makes them. State outside of model, optimizer, metrics and
    callbacks is the caller's: layers must draw from their own seed generators.

    Args:
        options: The options.
        model_json: Name and arguments of the model's builder. A run directory
            of another model is refused.
        make_train_set: Returns the batches from a step on, which have to be a
            function of the step alone: `make_train_set(k)` gives what
            `make_train_set(0).skip(k)` gives. It is endless, or long enough
            for all steps.
        loss: What `compile` takes as `loss`, without variables of its own;
            None for a model that has its loss and its metrics itself.
        make_metrics: Returns what `compile` takes as `weighted_metrics`. Made
            by a function, since metrics have variables and those belong to the
            strategy.
        make_model: Returns the model, functional and not compiled, or one with
            state of its own that trains the functional model which it has as
            its attribute `inner`; `keras_xf.models.build(model_json)` by
            default.
        make_groups: Returns the optimizers of variables that have their own, by
            paths, as `keras_xf.optimizers.GroupedOptimizer` takes them; none by
            default. Made by a function, since they belong to the strategy, too.
        make_validation_set: Returns a finite data set to validate on.
        monitor: The metric of the validation that decides which model is the
            best, and about early stopping.
        monitor_mode: Whether less or more of it is better.
        data_fingerprint: What the data is, as JSON values: names, sizes,
            hashes, the length of windows. A run does not go on with others.
        write_files: Is given the run directory, once that is known to hold no
            other run, to write what the model needs beside its weights: a
            tokenizer, names of tags.
        callbacks: More callbacks. They are called with `step` in their logs,
            keep plain attributes in checkpoints (`state.read_callbacks`), and
            meet `on_train_begin` and `on_train_end` up to three times, since a
            partial epoch at either end is a `fit` of its own.

    Returns:
        The result. A run that is over returns it without training.

    Raises:
        ValueError: If an argument is wrong, or the run directory or its
            checkpoint belong to another run.
        NonFiniteError: If a variable, the loss, that of the validation or the
            monitor is infinite or no number. Nothing of it is saved.
        Preempted: After SIGTERM. Uncaught, it ends the process with code 75.
    """
    check(
        make_validation_set or options.early_stopping_patience is None,
        "`early_stopping_patience` must be none without a validation set.",
        early_stopping_patience=options.early_stopping_patience,
    )
    check(
        not options.tensorboard or importlib.util.find_spec("tensorboard"),
        "`tensorboard` needs TensorBoard: pip install 'keras_xf[apps]'.",
        tensorboard=options.tensorboard,
    )
    devices.prepare(options)
    run = RunDirectory(options.run_dir)
    checkpoints = Checkpoints(run.checkpoints, options.keep_checkpoints)
    with run.locked(), Sigterm() as sigterm:
        run.check(options, model_json)
        start = _find_start(checkpoints, data_fingerprint)
        model = make_compiled_model(
            options,
            make_model=make_model or (lambda: models.build(model_json)),
            loss=loss,
            make_metrics=make_metrics or (lambda: None),
            make_groups=make_groups,
        )
        start = _set_variables(
            model, options, model_json, start, make_train_set
        )
        run.write(options, model_json)
        if write_files:
            write_files(run.path)

        history = HistoryFile(run.history, start.step)
        clock = TrainingClock(start.step, start.training_seconds)
        guard = Guard(checkpoints, monitor)
        stateful = [
            *callbacks,
            *_early_stopping(options, monitor, monitor_mode),
            BestModel(
                run.model,
                monitor if make_validation_set else None,
                monitor_mode,
            ),
        ]
        checkpointing = Checkpointing(
            options,
            checkpoints,
            clock=clock,
            guard=guard,
            sigterm=sigterm,
            stateful=stateful,
            start=start,
        )
        if checkpointing.stopped_because is None:
            run_epochs(
                model,
                options,
                make_train_set=make_train_set,
                make_validation_set=make_validation_set,
                step=start.step,
                callbacks=[
                    clock,
                    guard,
                    *stateful,
                    history,
                    *_scalars(options, run),
                    _progress(options, clock),
                    checkpointing,
                ],
            )
        logging.info(
            "training is over at step %d: %s",
            clock.step,
            checkpointing.stopped_because,
        )
    return Result(
        model=getattr(model, "inner", model),
        step=clock.step,
        history=history.rows,
        training_seconds=clock.seconds,
        stopped_because=checkpointing.stopped_because,
    )


def _find_start(checkpoints, data_fingerprint):
    """Returns the newest checkpoint, or that of a new run."""
    now = as_json(data_fingerprint or {})
    start = checkpoints.load_newest()
    if start is None:
        return Checkpoint(data_fingerprint=now)
    check_equal(
        "`run_dir` must not hold a run on other data.",
        start.data_fingerprint,
        now,
    )
    logging.info("going on from %s", checkpoints.path(start.step))
    return start


def _set_variables(model, options, model_json, start, make_train_set):
    """Gives a new model its state, all but that of the metrics.

    Returns:
        The checkpoint with nothing else than that.
    """
    metrics, others = state.split_metrics(start.arrays)
    if metrics and not state.fits(state.metric_variables(model), metrics):
        # The epoch was cut off. Its metrics have no variables yet to restore:
        # Keras makes them in the first step, of training or of evaluation.
        model.evaluate(make_train_set(start.step).take(1), verbose=0)
    if start.step:
        state.assign_variables(
            state.model_variables(model), others, source="The checkpoint"
        )
    elif options.init_from is not None:
        load_initial_weights(model, options.init_from, model_json)
    return dataclasses.replace(start, arrays=metrics)


def _early_stopping(options, monitor, mode):
    patience = options.early_stopping_patience
    if patience is None:
        return []
    # `model.keras` keeps the best weights.
    return [
        keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode)
    ]


def _progress(options, clock):
    limit = options.max_train_seconds
    return Progress(
        options.train_steps,
        options.log_every_steps,
        seconds_left=limit and (lambda: limit - clock.seconds),
    )


def _scalars(options, run):
    return [TensorBoardScalars(run.logs)] if options.tensorboard else []

"""The model and its optimizer, made where and how the options say."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from apps.training import devices
from apps.training.optimizer import make_optimizer
from apps.training.options import TrainingOptions
from keras_xf.checks import check


def make_compiled_model(
    options: TrainingOptions,
    *,
    make_model: Callable[[], keras.Model],
    loss: Any,
    make_metrics: Callable[[], Any],
    make_groups: Callable[[], dict | None] = lambda: None,
) -> keras.Model:
    """Makes and compiles a model, with all variables of the optimizer.

    Args:
        options: The options.
        make_model: Returns the model.
        loss: What `compile` takes as `loss`.
        make_metrics: Returns what `compile` takes as `weighted_metrics`.
        make_groups: Returns the optimizers of variables that have their own,
            as `make_optimizer` takes them.

    Raises:
        ValueError: If the devices or the model do not allow what the options
            ask for.
    """
    strategy = devices.make_strategy(options)
    scope = strategy.scope() if strategy else contextlib.nullcontext()
    with scope:
        with devices.dtype_policy(options.dtype_policy):
            model = make_model()
        model.compile(
            make_optimizer(options, model.trainable_variables, make_groups()),
            loss=loss,
            weighted_metrics=make_metrics(),
            jit_compile={"auto": "auto", "on": True, "off": False}[
                options.jit_compile
            ],
        )
        # Now, not in the first step: a checkpoint may have to fill them.
        model.optimizer.build(model.trainable_variables)
    check(
        options.jit_compile != "on" or model.jit_compile,
        "`jit_compile` must not be on where a layer does not support it, or "
        "determinism was turned on before in this process.",
        jit_compile=options.jit_compile,
    )
    return model

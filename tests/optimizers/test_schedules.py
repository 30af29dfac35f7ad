"""Tests of keras_xf.optimizers."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.optimizers import DECAYS
from keras_xf.optimizers import InverseSquareRootDecay
from keras_xf.optimizers import LinearWarmup
from keras_xf.optimizers import make_schedule


def rate_oracle(step, peak, warmup_steps, total_steps, decay, final_fraction):
    """Rate of one update, from the pictures of the schedules.

    A line rises from (0, 0) to (warm-up, peak), where updates count from one;
    the decay falls from there to (total + 1, final).
    """
    update = step + 1
    top = max(warmup_steps, 1)
    if update <= top:
        return peak * update / top
    final = final_fraction * peak
    way = min((update - top) / (total_steps + 1 - top), 1)
    return {
        "constant": peak,
        "linear": peak + way * (final - peak),
        "cosine": final + (peak - final) * (1 + math.cos(math.pi * way)) / 2,
        "inverse_sqrt": peak * math.sqrt(top / update),
    }[decay]


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 7])
def test_rates_equal_the_oracle_point_by_point(decay, warmup_steps):
    final_fraction = 0.1 if decay in ("linear", "cosine") else 0.0
    schedule = make_schedule(
        0.02,
        warmup_steps=warmup_steps,
        total_steps=20,
        decay=decay,
        final_fraction=final_fraction,
    )
    steps = range(25)
    expected = [
        rate_oracle(step, 0.02, warmup_steps, 20, decay, final_fraction)
        for step in steps
    ]
    # Steps as users pass them, and as optimizers do.
    rates = [schedule(step) for step in steps]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    for dtype in ("int32", "int64"):
        compiled = tf.function(schedule, jit_compile=True)
        rates = [compiled(tf.constant(step, dtype)) for step in steps]
        np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert compiled(tf.constant(3)).dtype == tf.float32


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_no_update_is_wasted_on_a_rate_of_zero(decay, warmup_steps):
    schedule = make_schedule(
        1.0, warmup_steps=warmup_steps, total_steps=10, decay=decay
    )
    rates = np.array([schedule(step) for step in range(12)])
    assert np.all(rates[:10] > 0.01)
    np.testing.assert_allclose(rates[10:], 0, atol=1e-6)


def test_inverse_square_root_is_the_formula_of_the_paper():
    # dim ** -0.5 * min(update ** -0.5, update * warmup_steps ** -1.5)
    dim, warmup_steps = 512, 40
    schedule = make_schedule(
        (dim * warmup_steps) ** -0.5,
        warmup_steps=warmup_steps,
        decay="inverse_sqrt",
    )
    updates = np.arange(1, 200, dtype="float64")
    expected = dim**-0.5 * np.minimum(
        updates**-0.5, updates * warmup_steps**-1.5
    )
    rates = [schedule(int(update) - 1) for update in updates]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_inverse_square_root_decay_halves_after_three_times_its_steps():
    schedule = InverseSquareRootDecay(0.4, decay_steps=10)
    rates = [schedule(step) for step in (0, 30, 150)]
    np.testing.assert_allclose(rates, [0.4, 0.2, 0.1], rtol=1e-6)


def test_warmup_takes_any_schedule_of_keras():
    # Which rate holds is decided by whole steps.
    pieces = keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries=[0, 2], values=[1.0, 0.5, 0.1]
    )
    schedule = LinearWarmup(pieces, warmup_steps=4)
    rates = [schedule(step) for step in range(8)]
    np.testing.assert_allclose(
        rates, [0.25, 0.5, 0.75, 1.0, 0.5, 0.5, 0.1, 0.1], rtol=1e-6
    )


def test_optimizer_follows_the_schedule():
    schedule = make_schedule(0.5, warmup_steps=2, total_steps=6, decay="linear")
    optimizer = keras.optimizers.SGD(schedule)
    variable = keras.Variable(0.0)
    places = []
    for _ in range(6):
        optimizer.apply([keras.ops.convert_to_tensor(-1.0)], [variable])
        places.append(float(variable.value))
    expected = [rate_oracle(step, 0.5, 2, 6, "linear", 0) for step in range(6)]
    np.testing.assert_allclose(np.diff([0.0, *places]), expected, rtol=1e-5)


@pytest.mark.parametrize("decay", DECAYS)
def test_config_round_trips_inside_an_optimizer(decay):
    schedule = make_schedule(0.02, warmup_steps=3, total_steps=9, decay=decay)
    optimizer = keras.optimizers.Adam(schedule)
    config = json.dumps(keras.saving.serialize_keras_object(optimizer))
    revived = keras.saving.deserialize_keras_object(json.loads(config))
    assert json.dumps(keras.saving.serialize_keras_object(revived)) == config
    inner = json.loads(config)["config"]["learning_rate"]
    assert inner["registered_name"] == "keras_xf>LinearWarmup"
    copy = keras.saving.deserialize_keras_object(inner)
    for step in range(12):
        assert float(copy(step)) == float(schedule(step))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_schedule(0.1, decay="step"),
            "`decay` must be one of ('constant', 'linear', 'cosine', "
            "'inverse_sqrt'). Received: decay='step'.",
        ),
        (
            lambda: make_schedule(0.0, total_steps=9, decay="cosine"),
            "`learning_rate` must be positive. Received: learning_rate=0.0.",
        ),
        (
            lambda: make_schedule(
                0.1, total_steps=9, decay="linear", final_fraction=1.5
            ),
            "`final_fraction` must lie in [0, 1]. Received: "
            "final_fraction=1.5.",
        ),
        (
            lambda: make_schedule(0.1, final_fraction=0.5),
            "`final_fraction` must be 0 where `decay` has no end. Received: "
            "final_fraction=0.5, decay='constant'.",
        ),
        (
            lambda: make_schedule(0.1, decay="cosine"),
            "`total_steps` must be more than `warmup_steps` where `decay` has "
            "an end. Received: total_steps=None, warmup_steps=0, "
            "decay='cosine'.",
        ),
        (
            lambda: make_schedule(
                0.1, warmup_steps=5, total_steps=5, decay="linear"
            ),
            "`total_steps` must be more than `warmup_steps` where `decay` has "
            "an end. Received: total_steps=5, warmup_steps=5, "
            "decay='linear'.",
        ),
        (
            lambda: make_schedule(0.1, warmup_steps=-1),
            "`warmup_steps` must not be negative. Received: warmup_steps=-1.",
        ),
        (
            lambda: LinearWarmup(-0.1, warmup_steps=3),
            "`learning_rate` must be a schedule or positive. Received: "
            "learning_rate=-0.1.",
        ),
        (
            lambda: InverseSquareRootDecay(0.0, decay_steps=3),
            "`learning_rate` must be positive. Received: learning_rate=0.0.",
        ),
        (
            lambda: InverseSquareRootDecay(0.1, decay_steps=0),
            "`decay_steps` must be positive. Received: decay_steps=0.",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message

"""Tests of apps.training.options, optimizer and devices."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps.training import TrainingOptions
from apps.training import devices
from apps.training.optimizer import make_optimizer

OPTIMIZERS = ("adam", "adamw", "sgd", "adafactor", "lion", "muon")


def make_options(**changes):
    defaults = {"run_dir": "x", "schedule": "constant", "deterministic": False}
    return TrainingOptions(**{**defaults, **changes})


def make_variables():
    return [
        keras.Variable(np.full((2, 3), 2.0, "float32"), name="kernel"),
        keras.Variable(np.full((3,), 2.0, "float32"), name="bias"),
    ]


def updated(gradients, **changes):
    """Returns kernel and bias, full of twos, after one update."""
    variables = make_variables()
    optimizer = make_optimizer(make_options(**changes), variables)
    optimizer.build(variables)
    optimizer.apply([tf.constant(g, tf.float32) for g in gradients], variables)
    return [np.array(variable) for variable in variables]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill(name):
    gradients = [np.full((2, 3), 0.1), np.full((3,), 0.1)]
    kernel, bias = updated(gradients, optimizer=name, learning_rate=0.01)
    assert np.all(kernel < 2.0)
    assert np.all(bias < 2.0)


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "adam"])
def test_weight_decay_leaves_out_what_has_one_axis(name):
    still = [np.zeros((2, 3)), np.zeros((3,))]
    kernel, bias = updated(
        still, optimizer=name, learning_rate=0.01, weight_decay=0.5
    )
    np.testing.assert_allclose(kernel, 2.0 * (1 - 0.01 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(bias, 2.0)


def test_without_weight_decay_nothing_decays():
    still = [np.zeros((2, 3)), np.zeros((3,))]
    for name in OPTIMIZERS:
        kernel, bias = updated(still, optimizer=name, learning_rate=0.01)
        np.testing.assert_array_equal(kernel, 2.0)
        np.testing.assert_array_equal(bias, 2.0)


def test_gradients_are_clipped_by_their_norm_together():
    gradients = [np.full((2, 3), 4.0), np.full((3,), -1.0)]
    norm = np.sqrt(6 * 16 + 3 * 1)
    arguments = {"optimizer": "sgd", "learning_rate": 1.0}
    kernel, bias = updated(gradients, **arguments, clip_norm=2.0)
    np.testing.assert_allclose(kernel, 2.0 - 4.0 * 2.0 / norm, rtol=1e-6)
    np.testing.assert_allclose(bias, 2.0 + 1.0 * 2.0 / norm, rtol=1e-6)
    kernel, bias = updated(gradients, **arguments, clip_norm=None)
    np.testing.assert_array_equal(kernel, -2.0)


def test_betas_reach_the_optimizer():
    for name, attributes in {
        "adam": {"beta_1": 0.3, "beta_2": 0.4},
        "adamw": {"beta_1": 0.3, "beta_2": 0.4},
        "lion": {"beta_1": 0.3, "beta_2": 0.4},
        "sgd": {"momentum": 0.3},
        "muon": {"momentum": 0.3},
    }.items():
        beta_2 = 0.4 if "beta_2" in attributes else None
        options = make_options(optimizer=name, beta_1=0.3, beta_2=beta_2)
        optimizer = make_optimizer(options, make_variables())
        assert {n: getattr(optimizer, n) for n in attributes} == attributes


def test_the_schedule_is_the_one_of_the_options():
    options = make_options(
        schedule="linear",
        warmup_steps=10,
        train_steps=100,
        learning_rate=1.0,
        final_fraction=0.1,
    )
    optimizer = make_optimizer(options, make_variables())
    rates = []
    for step in (4, 9, 99):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.5, 1.0, 0.1], atol=0.011)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weight_decay": 0.1, "optimizer": "adam"},
            "`weight_decay` must be 0 for adam; adamw has it. "
            "Received: weight_decay=0.1.",
        ),
        (
            {"beta_2": 0.9, "optimizer": "sgd"},
            "`beta_2` must be none for this optimizer. "
            "Received: optimizer='sgd', beta_2=0.9.",
        ),
        (
            {"beta_1": 0.9, "optimizer": "adafactor"},
            "`beta_1` must be none for this optimizer. "
            "Received: optimizer='adafactor', beta_1=0.9.",
        ),
    ],
)
def test_options_that_mean_nothing_to_an_optimizer_are_refused(
    changes, message
):
    with pytest.raises(ValueError) as error:
        make_optimizer(make_options(**changes), make_variables())
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {name: 0},
            f"`{name}` must be at least 1. Received: {name}=0.",
        )
        for name in (
            "train_steps",
            "batch_size",
            "save_every_steps",
            "keep_checkpoints",
            "early_stopping_patience",
        )
    ]
    + [
        (
            {name: -1},
            f"`{name}` must be at least 0. Received: {name}=-1.",
        )
        for name in ("warmup_steps", "log_every_steps", "weight_decay")
    ]
    + [
        ({name: 0.0}, f"`{name}` must be positive. Received: {name}=0.0.")
        for name in ("learning_rate", "clip_norm", "max_train_seconds")
    ]
    + [
        (
            {name: value},
            f"`{name}` must lie in [0, 1). Received: {name}={value}.",
        )
        for name in ("beta_1", "beta_2")
        for value in (3.0, 1.0, -0.1)
    ]
    + [
        (
            {"seed": value},
            f"`seed` must lie in [0, 2**32). Received: seed={value}.",
        )
        for value in (-1, 2**32)
    ]
    + [
        (
            {"final_fraction": 1.5},
            "`final_fraction` must lie in [0, 1]. "
            "Received: final_fraction=1.5.",
        ),
        (
            {"final_fraction": 0.5, "schedule": "inverse_sqrt"},
            "`final_fraction` must be 0 unless `schedule` is linear or cosine. "
            "Received: final_fraction=0.5, schedule='inverse_sqrt'.",
        ),
        (
            {"warmup_steps": 9, "train_steps": 9, "schedule": "cosine"},
            "`warmup_steps` must be less than `train_steps` where `schedule` "
            "is linear or cosine. "
            "Received: warmup_steps=9, train_steps=9, schedule='cosine'.",
        ),
        (
            {"devices": ("gpu:0",)},
            "`devices` must be empty unless `strategy` is mirrored. "
            "Received: devices=('gpu:0',), strategy='none'.",
        ),
        (
            {"jit_compile": "on", "strategy": "mirrored"},
            "`jit_compile` must not be on where `strategy` is mirrored. "
            "Received: jit_compile='on', strategy='mirrored'.",
        ),
    ],
)
def test_rejects(changes, message):
    with pytest.raises(ValueError) as error:
        make_options(**changes)
    assert str(error.value) == message


def test_options_at_their_bounds_are_allowed():
    make_options(beta_1=0.0, beta_2=0.999, seed=2**32 - 1)
    make_options(warmup_steps=9, train_steps=9)
    make_options(warmup_steps=8, train_steps=9, schedule="linear")


def test_a_subclass_may_have_required_options():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options(TrainingOptions):
        data: str

    names = [field.name for field in dataclasses.fields(Options)]
    assert names[0] == "run_dir"
    assert names[-1] == "data"
    assert Options(run_dir="x", data="y").train_steps == 10_000


def make_strategy(*names, batch_size=8):
    options = make_options(
        strategy="mirrored", devices=names, batch_size=batch_size
    )
    devices.prepare(options)
    return devices.make_strategy(options)


def test_as_many_devices_are_used_as_are_named():
    assert devices.make_strategy(make_options()) is None
    assert make_strategy("cpu:0", "cpu:1").num_replicas_in_sync == 2
    assert make_strategy("cpu:1").num_replicas_in_sync == 1


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError) as error:
        make_strategy("cpu:0", "cpu:1", batch_size=3)
    assert str(error.value) == (
        "`batch_size` must be divisible by the number of devices. "
        "Received: batch_size=3, devices=2."
    )


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError) as error:
        make_strategy("cpu:0", "tpu:3")
    known = [
        device.name.removeprefix("/device:").lower()
        for kind in ("GPU", "CPU")
        for device in tf.config.list_logical_devices(kind)
    ]
    assert str(error.value) == (
        f"`devices` must be among {known}. "
        "Received: devices=('cpu:0', 'tpu:3')."
    )


@pytest.mark.parametrize(
    "name", ["cpu:x", "cpu", "cpu:", "CPU:0", "0", "cpu:1000"]
)
def test_what_is_no_device_is_refused(name):
    with pytest.raises(ValueError) as error:
        make_strategy("cpu:0", name)
    assert str(error.value) == (
        "`devices` must be kinds and numbers, such as gpu:0 or cpu:1. "
        f"Received: devices=('cpu:0', {name!r})."
    )


def test_a_device_named_twice_is_refused():
    with pytest.raises(ValueError) as error:
        make_strategy("cpu:0", "cpu:0")
    assert str(error.value) == (
        "`devices` must not name a device twice. "
        "Received: devices=('cpu:0', 'cpu:0')."
    )


def test_xla_on_gpus_cannot_be_deterministic(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    options = make_options(deterministic=True, jit_compile="on")
    with pytest.raises(ValueError) as error:
        devices.prepare(options)
    assert str(error.value) == (
        "`deterministic` must be off where `jit_compile` is on and there are "
        "GPUs. Received: deterministic=True, jit_compile='on'."
    )


def test_the_dtype_policy_holds_inside_alone():
    with devices.dtype_policy("mixed_bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    assert keras.layers.Dense(1).compute_dtype == "float32"


def test_clipping_over_replicas_is_that_of_one_device():
    # With an embedding, whose gradient is sparse.
    def train(strategy):
        with strategy.scope():
            inputs = keras.Input((2,), dtype="int32")
            x = keras.layers.Embedding(5, 3, embeddings_initializer="ones")(
                inputs
            )
            outputs = keras.layers.Dense(1, kernel_initializer="ones")(x)
            model = keras.Model(inputs, outputs)
            options = make_options(optimizer="sgd", clip_norm=0.1)
            model.compile(
                make_optimizer(options, model.trainable_variables), "mse"
            )
        ids = np.array([[0, 1], [1, 1], [2, 3], [0, 3]])
        targets = np.array([[[9.0]], [[2.0]], [[-5.0]], [[0.0]]])
        pairs = (ids, np.repeat(targets, 2, axis=1))
        batches = tf.data.Dataset.from_tensors(pairs).repeat(3)
        model.fit(batches, shuffle=False, verbose=0)
        return model.get_weights()

    for one, two in zip(
        train(tf.distribute.get_strategy()),
        train(make_strategy("cpu:0", "cpu:1")),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-6)

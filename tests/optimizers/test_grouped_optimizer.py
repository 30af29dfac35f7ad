"""Tests of GroupedOptimizer and of the Weighted Transformer's optimizer."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.constraints import Simplex
from keras_xf.optimizers import FrozenAfter
from keras_xf.optimizers import GroupedOptimizer
from keras_xf.optimizers import make_weighted_transformer_optimizer

GOLDEN = {
    1: (1.74692811e-7, 1.35316469e-5),
    400: (6.98771243e-5, 5.41265877e-3),
    4000: (6.98771243e-4, 1.71163299e-3),
    60000: (1.80421959e-4, 4.41941738e-4),
}


class Branches(keras.layers.Layer):
    """Columns of weights that are mixed by others on the simplex."""

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], 4), initializer="normal"
        )
        self.alpha = self.add_weight(
            name="alpha",
            shape=(4,),
            initializer=keras.initializers.Constant(0.25),
            constraint=Simplex(),
            autocast=False,
        )

    def call(self, inputs):
        mixed = keras.ops.cast(self.alpha, inputs.dtype)
        return keras.ops.matmul(inputs, self.kernel) @ mixed[:, None]


def adam(name, rate=0.01, **options):
    return keras.optimizers.Adam(rate, name=name, **options)


def grouped(rate=0.01, branch_rate=0.1, **options):
    return GroupedOptimizer(
        adam("rest", rate),
        {".*/alpha": adam("branches", branch_rate)},
        **options,
    )


def make_model(optimizer, seed=0, dtype=None, **options):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    outputs = Branches(name="branches", dtype=dtype)(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, loss="mse", **options)
    return model


def data(rows=32, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 3)).astype("float32")
    return x, (x[:, :1] * 2 - x[:, 1:2]).astype("float32")


def schedule_of(optimizer):
    config = optimizer.get_config()["learning_rate"]
    return keras.saving.deserialize_keras_object(config)


def weights_of(model):
    return [np.asarray(weight) for weight in model.trainable_variables]


def gradients(model, x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    return tape.gradient(
        loss, [weight.value for weight in model.trainable_variables]
    )


def test_each_group_has_its_own_rate():
    x, y = data()
    model = make_model(grouped())
    before = weights_of(model)
    model.train_on_batch(x, y)
    kernel, alpha = (
        np.abs(after - first).max()
        for after, first in zip(weights_of(model), before, strict=True)
    )
    # A first step of Adam is as long as the rate, projected or not.
    assert kernel == pytest.approx(0.01, rel=1e-3)
    assert 0.02 < alpha < 0.15


def test_gradients_are_clipped_together():
    x, y = data()
    model = make_model(
        GroupedOptimizer(
            keras.optimizers.SGD(1.0, name="rest"),
            {".*/alpha": keras.optimizers.SGD(1.0, name="branches")},
            global_clipnorm=0.01,
        )
    )
    model.layers[-1].alpha.constraint = None
    before = weights_of(model)
    grads = [np.asarray(grad) for grad in gradients(model, x, y)]
    norm = np.sqrt(sum((grad**2).sum() for grad in grads))
    assert norm > 0.1
    model.train_on_batch(x, y)
    for after, first, grad in zip(
        weights_of(model), before, grads, strict=True
    ):
        np.testing.assert_allclose(after, first - grad * 0.01 / norm, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_accumulation_is_a_larger_batch(jit_compile):
    x, y = data(rows=48)
    models = {
        steps: make_model(
            grouped(
                keras.optimizers.schedules.PolynomialDecay(0.05, 4),
                global_clipnorm=0.5,
                gradient_accumulation_steps=steps,
            ),
            jit_compile=jit_compile,
        )
        for steps in (1, 3)
    }
    for start in range(0, 48, 12):
        rows = slice(start, start + 12)
        models[1].train_on_batch(x[rows], y[rows])
        for part in range(start, start + 12, 4):
            before = weights_of(models[3])
            models[3].train_on_batch(x[part : part + 4], y[part : part + 4])
            moved = any(
                (first != after).any()
                for first, after in zip(
                    before, weights_of(models[3]), strict=True
                )
            )
            assert moved == (part == start + 8)
    for one, three in zip(*map(weights_of, models.values()), strict=True):
        np.testing.assert_allclose(one, three, atol=1e-5)
    # Schedules see updates.
    for model in models.values():
        assert int(model.optimizer.iterations) == 4
        for optimizer in model.optimizer.optimizers:
            assert int(optimizer.iterations) == 4


def test_callbacks_set_all_rates_and_read_one():
    model = make_model(grouped())
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    model.optimizer.learning_rate = 0.005
    rates = [float(each.learning_rate) for each in model.optimizer.optimizers]
    assert rates == pytest.approx([0.05, 0.005])
    # Not even nothing makes the ratio forget.
    for value in (0.0, 0.005):
        model.optimizer.learning_rate = value
    rates = [float(each.learning_rate) for each in model.optimizer.optimizers]
    assert rates == pytest.approx([0.05, 0.005])
    callback = keras.callbacks.LearningRateScheduler(lambda _, rate: rate / 2)
    model.fit(*data(), epochs=2, verbose=0, callbacks=[callback])
    rates = [float(each.learning_rate) for each in model.optimizer.optimizers]
    assert rates == pytest.approx([0.0125, 0.00125])


def test_mixed_float16_scales_the_loss_around_it():
    x, y = data()
    optimizer = keras.optimizers.LossScaleOptimizer(
        grouped(gradient_accumulation_steps=2), initial_scale=2.0**8
    )
    model = make_model(optimizer, dtype="mixed_float16")
    single = make_model(grouped(gradient_accumulation_steps=2))
    for _ in range(6):
        model.train_on_batch(x, y)
        single.train_on_batch(x, y)
    assert model.layers[-1].alpha.dtype == "float32"
    for half, full in zip(weights_of(model), weights_of(single), strict=True):
        np.testing.assert_allclose(half, full, atol=0.01)
    np.testing.assert_allclose(
        model.layers[-1].alpha.numpy().sum(), 1, atol=1e-6
    )
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_a_saved_model_goes_on(tmp_path):
    x, y = data()
    model = make_model(
        make_weighted_transformer_optimizer(
            hidden_dim=16,
            num_layers=2,
            total_steps=20,
            gradient_accumulation_steps=2,
        )
    )
    for _ in range(5):
        model.train_on_batch(x, y)
    path = tmp_path / "model.keras"
    model.save(path)
    custom = {"Branches": Branches}
    again = keras.saving.load_model(path, custom_objects=custom)
    for _ in range(5):
        model.train_on_batch(x, y)
        again.train_on_batch(x, y)
    assert int(again.optimizer.iterations) == 5
    for one, other in zip(weights_of(model), weights_of(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_config_round_trips():
    optimizer = make_weighted_transformer_optimizer(
        hidden_dim=512, num_layers=6, free_steps=50_000, global_clipnorm=1.0
    )
    config = json.dumps(keras.saving.serialize_keras_object(optimizer))
    revived = keras.saving.deserialize_keras_object(json.loads(config))
    assert isinstance(revived, GroupedOptimizer)
    assert json.dumps(keras.saving.serialize_keras_object(revived)) == config


def test_rates_are_those_of_the_paper():
    optimizer = make_weighted_transformer_optimizer(
        hidden_dim=512, num_layers=6, free_steps=50_000
    )
    branches, rest = optimizer.optimizers
    for update, (ordinary, branch) in GOLDEN.items():
        rates = []
        for each in (rest, branches):
            each.iterations.assign(update - 1)
            rates.append(float(each.learning_rate))
        expected = [ordinary, branch * (update <= 50_000)]
        np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_warm_ups_and_freezing_scale_with_a_short_run():
    optimizer = make_weighted_transformer_optimizer(
        hidden_dim=64, num_layers=2, total_steps=200
    )
    branches, rest = (
        [float(schedule_of(each)(step)) for step in range(200)]
        for each in optimizer.optimizers
    )
    assert np.argmax(rest) == 19
    assert np.argmax(branches) == 1
    assert branches[169] > 0
    assert max(branches[170:]) == 0


def test_frozen_weights_keep_their_bits():
    x, y = data()
    model = make_model(
        make_weighted_transformer_optimizer(
            hidden_dim=16, num_layers=2, total_steps=10, free_steps=4
        )
    )
    seen = []
    for _ in range(8):
        model.train_on_batch(x, y)
        seen.append(weights_of(model))
    kernels, alphas = zip(*seen, strict=True)
    assert all((a != b).any() for a, b in itertools.pairwise(alphas[:4]))
    for later in alphas[4:]:
        np.testing.assert_array_equal(alphas[3], later)
    assert all((a != b).any() for a, b in itertools.pairwise(kernels))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: GroupedOptimizer(adam("a"), {"x": adam("a")}),
            "`groups` and `rest` must have optimizers with names of their own. "
            "Received: names=['a', 'a'].",
        ),
        (
            lambda: GroupedOptimizer(
                adam("a"), {"x": adam("b", global_clipnorm=1.0)}
            ),
            "`global_clipnorm` must be given to the `GroupedOptimizer`. "
            "Received: global_clipnorm=1.0, optimizer='b'.",
        ),
        (
            lambda: grouped(global_clipnorm=0.0),
            "`global_clipnorm` must be positive. "
            "Received: global_clipnorm=0.0.",
        ),
        (
            lambda: grouped(gradient_accumulation_steps=0),
            "`gradient_accumulation_steps` must be positive. "
            "Received: gradient_accumulation_steps=0.",
        ),
        (
            lambda: setattr(
                make_weighted_transformer_optimizer(hidden_dim=8, num_layers=2),
                "learning_rate",
                0.1,
            ),
            "`learning_rate` must not be set: how rates relate is not known, "
            "as there are schedules, or it was 0 when this was made. "
            "Received: learning_rate=0.1.",
        ),
        (
            lambda: FrozenAfter(0.0, 3),
            "`learning_rate` must be a schedule or positive. "
            "Received: learning_rate=0.0.",
        ),
        (
            lambda: FrozenAfter(1.0, -1),
            "`updates` must not be negative. Received: updates=-1.",
        ),
        (
            lambda: make_weighted_transformer_optimizer(
                hidden_dim=0, num_layers=2
            ),
            "`hidden_dim` must be positive. Received: hidden_dim=0.",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message

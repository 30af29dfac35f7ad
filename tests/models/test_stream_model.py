"""Tests of keras_xf.models.stream_model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf.data.streams import ContiguousStreams
from keras_xf.data.streams import scored_streams
from keras_xf.text.special_ids import BOS

SIZES = {
    "vocabulary_size": 13,
    "num_layers": 1,
    "hidden_dim": 8,
    "num_heads": 2,
    "intermediate_dim": 16,
    "dropout": 0.0,
    "memory_length": 6,
    "initializer_stddev": 0.5,
    "seed": 1,
}
ROWS, WIDTH = 4, 4
# No text contains BOS.
TEXT = np.random.default_rng(0).integers(5, 13, 3 * ROWS * WIDTH + 7)
STREAMS = ContiguousStreams(TEXT, WIDTH, ROWS, target="log_probs")
STEPS = STREAMS.steps_per_epoch


def build(**arguments):
    return models.build_transformer_xl(**{**SIZES, **arguments})


def make(learning_rate=0.05, *, build_arguments=None, **arguments):
    """A model ready to train; without compilation tests are quicker."""
    model = models.with_memory(build(**(build_arguments or {})), ROWS)
    model.compile(
        keras.optimizers.SGD(learning_rate),
        **{"jit_compile": False, **arguments},
    )
    return model


class Losses(keras.callbacks.Callback):
    """Notes each batch's mean, of an epoch so far."""

    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])


def fit(model, epochs=2, data=None, **arguments):
    losses = Losses()
    model.fit(
        STREAMS.dataset() if data is None else data,
        steps_per_epoch=STEPS,
        epochs=epochs,
        callbacks=[losses],
        verbose=0,
        **arguments,
    )
    return losses.means


def loop(model, steps=2 * STEPS, learning_rate=0.05, weights_of=None):
    """What `fit` is to do, by hand; returns each step's loss."""
    scorer = models.build_transformer_xl_scorer(model)
    optimizer = keras.optimizers.SGD(learning_rate)
    memory = models.initial_memory(model, ROWS)
    losses = []
    for step in range(steps):
        inputs, targets = STREAMS.batch(step)
        begins = inputs["token_ids"][:, 0] == BOS
        length = tf.where(begins, 0, memory["memory_length"])
        with tf.GradientTape() as tape:
            outputs = scorer(
                {
                    **inputs,
                    "target_ids": targets["log_probs"],
                    "memory": tf.constant(memory["memory"].numpy()),
                    "memory_length": length,
                },
                training=True,
            )
            weights = tf.ones((ROWS, WIDTH))
            if weights_of is not None:
                weights = weights_of(step)
            loss = tf.reduce_sum(weights * outputs["nll"])
            loss /= tf.reduce_sum(weights)
        variables = scorer.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        memory = outputs
        losses.append(float(loss))
    return losses


def means_of_epochs(losses):
    return [
        np.mean(losses[step // STEPS * STEPS : step + 1])
        for step in range(len(losses))
    ]


def assert_same_weights(model, other, atol=1e-4):
    for a, b in zip(
        model.trainable_variables, other.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(a, b, atol=atol, err_msg=a.path)


def assert_close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(actual, expected, atol=atol)


@pytest.mark.parametrize(
    ("jit_compile", "norm_first"), [(False, True), (True, False)]
)
def test_fit_carries_the_memory_as_a_loop_does(jit_compile, norm_first):
    arguments = {"norm_first": norm_first, "num_layers": 2}
    model = make(jit_compile=jit_compile, build_arguments=arguments)
    losses = fit(model)
    by_hand = build(**arguments)
    expected = loop(by_hand)
    assert_close(losses, means_of_epochs(expected))
    # It learns: the first batch of the second epoch is that of the first.
    assert expected[STEPS] < expected[0]
    assert_same_weights(model.inner, by_hand)


def test_several_steps_at_once_carry_it_too():
    model = make(steps_per_execution=STEPS)
    losses = fit(model)
    expected = means_of_epochs(loop(build()))
    assert_close(losses, expected[STEPS - 1 :: STEPS])


def test_the_memory_matters():
    # Else all of this would show little.
    with_it = fit(make(0.0), epochs=1)
    without = fit(make(0.0, build_arguments={"memory_length": 0}), epochs=1)
    assert with_it[0] == pytest.approx(without[0], abs=1e-5)
    assert abs(with_it[-1] - without[-1]) > 1e-3


def batch_of(step, begins=False):
    inputs, targets = STREAMS.batch(step)
    if begins:
        return inputs, targets
    # A batch that goes on.
    token_ids = inputs["token_ids"].numpy()
    token_ids[:, 0] = np.where(token_ids[:, 0] == BOS, 5, token_ids[:, 0])
    return {**inputs, "token_ids": token_ids}, targets


def test_rows_that_begin_forget():
    model = make()
    inner = model.inner
    for training in (False, True):
        inputs, _ = batch_of(0)
        model(inputs, training=training)
        memory = inner({**inputs, **models.initial_memory(inner, ROWS)})
        inputs, _ = batch_of(1)
        inputs["token_ids"][1:3, 0] = BOS
        # In any other place it is a token like others.
        inputs["token_ids"][3, 1] = BOS
        outputs = model(inputs, training=training)
        memory_length = memory["memory_length"].numpy()
        memory_length[1:3] = 0
        expected = inner(
            {
                **inputs,
                "memory": memory["memory"],
                "memory_length": memory_length,
            }
        )
        assert set(outputs) == {"log_probs"}
        assert_close(outputs["log_probs"], expected["log_probs"])


def test_memories_of_training_and_evaluation_are_two():
    scored = scored_streams(TEXT, 5, 2, target="log_probs")

    def train(**arguments):
        inner = build()
        variant = models.transformer_xl_variant(
            inner, memory_length=9, attention_window=7, clamp_length=5
        )
        model = models.with_memory(
            inner, ROWS, evaluation_model=variant, evaluation_batch_size=2
        )
        model.compile(keras.optimizers.SGD(0.5), jit_compile=False)
        history = model.fit(
            STREAMS.dataset(),
            steps_per_epoch=STEPS,
            epochs=2,
            verbose=0,
            **arguments,
        ).history
        return model, variant, history

    model, variant, history = train(validation_data=scored)
    other, _, alone = train()
    assert history["loss"] == alone["loss"]
    assert_same_weights(model.inner, other.inner, atol=0)
    memory = [v.numpy() for v in model.memory_variables]
    for expected in (history["val_bits_per_token"][-1],) * 2:
        result = model.evaluate(scored, verbose=0, return_dict=True)
        assert result["bits_per_token"] == pytest.approx(expected, rel=1e-6)
    for variable, value in zip(model.memory_variables, memory, strict=True):
        np.testing.assert_array_equal(variable, value)
    bits, _ = bits_by_hand(variant, scored, 2)
    assert history["val_bits_per_token"][-1] == pytest.approx(bits, rel=1e-5)


def bits_by_hand(model, scored, rows):
    """Bits of all tokens of weighted segments, and their number."""
    memory = models.initial_memory(model, rows)
    total, count = 0.0, 0.0
    for inputs, targets, weights in scored:
        memory = model(
            {
                **inputs,
                "memory": memory["memory"],
                "memory_length": memory["memory_length"],
            }
        )
        chosen = tf.gather(
            memory["log_probs"], targets["log_probs"], axis=-1, batch_dims=2
        )
        weights = weights["log_probs"].numpy()
        total -= np.sum(weights * chosen.numpy()) / np.log(2)
        count += np.sum(weights)
    return total / count, count


def test_bits_are_the_mean_over_what_is_real():
    # The last segment has fewer tokens, and the last row fewer segments.
    scored = scored_streams(TEXT[:29], 3, ROWS, target="log_probs")
    model = make()
    bits, count = bits_by_hand(model.inner, scored, ROWS)
    assert count == 29
    result = model.evaluate(scored, verbose=0, return_dict=True)
    assert result["bits_per_token"] == pytest.approx(bits, rel=1e-5)


def test_without_weights_what_is_real_counts():
    inputs, targets = STREAMS.batch(0)
    length = np.array([4, 1, 2, 3], "int32")
    is_real = np.arange(WIDTH) < length[:, None]
    inputs = {**inputs, "length": length}
    losses, bits = [], []
    for weights in ((), ({"log_probs": is_real.astype("float32")},)):
        data = tf.data.Dataset.from_tensors((inputs, targets, *weights))
        model = make()
        history = model.fit(data, verbose=0).history
        losses += history["loss"]
        bits += history["bits_per_token"]
        # In training it is the mean of what was before the step.
        assert bits[-1] == pytest.approx(losses[-1] / np.log(2), rel=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_weights_weigh_losses_and_bits():
    generator = np.random.default_rng(1)
    weights = generator.uniform(0, 2, (2 * STEPS, ROWS, WIDTH))
    weights = weights.astype("float32")

    def with_weights(index, batch):
        return (*batch, {"log_probs": tf.gather(weights, index)})

    model = make()
    data = STREAMS.dataset().take(2 * STEPS).enumerate().map(with_weights)
    losses = fit(model, data=data)
    by_hand = build()
    expected = loop(by_hand, weights_of=lambda step: weights[step])
    assert_close(losses, means_of_epochs(expected))
    assert_same_weights(model.inner, by_hand)


def test_evaluation_and_prediction_begin_with_nothing():
    model = make()
    inner = model.inner
    batches = [batch_of(step) for step in range(3)]
    memory = models.initial_memory(inner, ROWS)
    expected = []
    for inputs, _ in batches:
        memory = inner(
            {
                **inputs,
                "memory": memory["memory"],
                "memory_length": memory["memory_length"],
            }
        )
        expected.append(memory["log_probs"])
    targets = np.concatenate([t["log_probs"] for _, t in batches])
    expected = np.concatenate(expected)
    nats = -np.take_along_axis(expected, targets[..., None], axis=-1)
    data = tf.data.Dataset.from_tensor_slices(
        {
            name: np.stack([inputs[name] for inputs, _ in batches])
            for name in ("token_ids", "length")
        }
    )
    scored = tf.data.Dataset.zip(
        data,
        tf.data.Dataset.from_tensor_slices(
            {"log_probs": targets.reshape(3, ROWS, WIDTH)}
        ),
    )
    for _ in range(2):
        outputs = model.predict(data, verbose=0)
        assert_close(outputs["log_probs"], expected)
        result = model.evaluate(scored, verbose=0, return_dict=True)
        assert result["loss"] == pytest.approx(np.mean(nats), rel=1e-5)


def test_a_second_fit_goes_on_until_the_memory_is_reset():
    data = tf.data.Dataset.from_tensors(batch_of(1))
    first = tf.data.Dataset.from_tensors(batch_of(0))

    def loss_of(model):
        return model.fit(data, verbose=0).history["loss"][0]

    blank = loss_of(make(0.0))
    model = make(0.0)
    model.fit(first, verbose=0)
    gone_on = loss_of(model)
    assert abs(gone_on - blank) > 1e-3
    model.reset_memory()
    model.fit(first, verbose=0)
    assert loss_of(model) == pytest.approx(gone_on, rel=1e-6)
    model.reset_memory()
    assert loss_of(model) == pytest.approx(blank, rel=1e-6)


def test_a_reset_memory_is_free_of_what_is_no_number():
    model = make()
    memory, length = model.memory_variables
    memory.assign(np.full(memory.shape, np.nan))
    length.assign(np.full(ROWS, SIZES["memory_length"]))
    model.reset_memory()
    assert np.isfinite(fit(model, epochs=1)).all()


def test_the_memory_is_among_the_variables_but_not_trained():
    model = make()
    ids = [id(v) for v in model.memory_variables]
    assert len(ids) == 2
    assert set(ids) <= {id(v) for v in model.variables}
    assert set(ids) <= {id(v) for v in model.non_trainable_variables}
    assert {id(v) for v in model.trainable_variables} == {
        id(v) for v in model.inner.trainable_variables
    }
    # That of evaluation is not.
    memories = [v for v in model.variables if "memory" in v.path]
    assert {id(v) for v in memories} == set(ids)


def test_variables_of_one_model_resume_in_another():
    expected = loop(build(), steps=STEPS)
    model, other = make(), make()
    model.fit(STREAMS.dataset().take(2), verbose=0)
    for a, b in zip(other.variables, model.variables, strict=True):
        a.assign(b)
    rest = other.fit(STREAMS.dataset(2).take(1), verbose=0).history["loss"]
    assert_close(rest, expected[2:])


def test_no_gradient_goes_through_the_memory():
    model = make()
    batches = [batch_of(step) for step in range(2)]
    variables = [v.value for v in model.inner.trainable_variables]

    def loss_of(batch):
        inputs, targets = batch
        targets = {"target_ids": targets["log_probs"]}
        return tf.reduce_sum(model({**inputs, **targets}, training=True)["nll"])

    with tf.GradientTape() as tape:
        loss_of(batches[0])
        loss = loss_of(batches[1])
    gradients = tape.gradient(loss, variables)
    model.reset_memory()
    loss_of(batches[0])
    with tf.GradientTape() as tape:
        loss = loss_of(batches[1])
    for actual, expected in zip(
        gradients, tape.gradient(loss, variables), strict=True
    ):
        assert_close(actual, expected)


def test_inner_is_what_is_saved(tmp_path):
    model = make()
    fit(model, epochs=1)
    with pytest.raises(ValueError) as error:
        model.save(tmp_path / "model.keras")
    assert str(error.value) == (
        "`stream_model` must not be saved; its `inner` model is what goes "
        "into a file. Received: stream_model='stream_model'."
    )
    model.inner.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_weights(revived, model.inner, atol=0)
    assert len(revived.variables) == len(build().variables)


def test_replicas_remember_their_own_rows(strategy):
    # Updates are so small that it does not matter whether one overtakes a loss,
    # which can happen on two devices that are one CPU.
    rate = 1e-4
    start = [v.numpy() for v in build().trainable_variables]
    with strategy.scope():
        model = make(rate)
    losses = fit(model)
    by_hand = build()
    expected = loop(by_hand, learning_rate=rate)
    assert_close(losses, means_of_epochs(expected), 1e-3)
    for actual, e, before in zip(
        model.inner.trainable_variables,
        by_hand.trainable_variables,
        start,
        strict=True,
    ):
        # Sums of gradients.
        actual, e = ((v.numpy() - before) / rate for v in (actual, e))
        assert_close(actual, e, 0.02 * np.max(np.abs(e)) + 0.02)
    one = make(rate)
    fit(one)
    for variable, whole in zip(
        model.memory_variables, one.memory_variables, strict=True
    ):
        values = [
            value.numpy()
            for value in strategy.experimental_local_results(variable.value)
        ]
        assert [len(value) for value in values] == [ROWS // 2] * 2
        assert_close(np.concatenate(values), whole, 2e-3)
    scored = scored_streams(TEXT[:29], 3, ROWS, target="log_probs")
    for _ in range(2):
        results = [
            each.evaluate(scored, verbose=0, return_dict=True)
            for each in (model, one)
        ]
        assert results[0]["bits_per_token"] == pytest.approx(
            results[1]["bits_per_token"], rel=1e-3
        )
    model.reset_memory()
    lengths = model.memory_variables[1].value
    for value in strategy.experimental_local_results(lengths):
        np.testing.assert_array_equal(value, [0, 0])


@pytest.mark.parametrize("name", ["batch_size", "evaluation_batch_size"])
def test_replicas_share_a_batch_evenly(strategy, name):
    with strategy.scope(), pytest.raises(ValueError) as error:
        models.with_memory(build(), **{"batch_size": 2, name: 3})
    assert str(error.value) == (
        f"`{name}` must be divisible by the number of replicas. Received: "
        f"{name}=3, replicas=2."
    )


def arrays(number=1):
    batches = [batch_of(step) for step in range(number)]
    inputs = {
        name: np.concatenate([inputs[name] for inputs, _ in batches])
        for name in ("token_ids", "length")
    }
    targets = np.concatenate([t["log_probs"] for _, t in batches])
    return inputs, targets


SHUFFLED = (
    "`shuffle` must be False: each batch goes on where the one before has "
    "ended. Received: shuffle=True."
)


def test_what_is_shuffled_is_refused():
    model = make()
    inputs, targets = arrays(3)
    for arguments in ({}, {"shuffle": True}):
        with pytest.raises(ValueError) as error:
            model.fit(inputs, targets, batch_size=ROWS, **arguments)
        assert str(error.value) == SHUFFLED
    with pytest.raises(ValueError) as error:
        model.fit(STREAMS.dataset(), steps_per_epoch=1, shuffle=True)
    assert str(error.value) == SHUFFLED


def test_arrays_in_order_are_as_good():
    inputs, targets = arrays(3)
    data = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(ROWS)
    losses = []
    for arguments in (
        {"x": inputs, "y": targets, "batch_size": ROWS, "shuffle": False},
        {"x": data},
    ):
        model = make()
        history = model.fit(epochs=2, verbose=0, **arguments).history
        losses.append(history["loss"])
    assert_close(*losses)


def test_batches_of_another_size_are_refused():
    model = make()
    inputs, targets = STREAMS.batch(0)
    other = (
        {name: x[:3] for name, x in inputs.items()},
        targets["log_probs"][:3],
    )
    data = tf.data.Dataset.from_tensors(other)
    for function in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError) as error:
            function(data, verbose=0)
        assert (
            "`token_ids` must have as many rows as the memory. Received: "
            "shape=(3, 4), batch_size=4." in str(error.value)
        )
    # A last batch that has fewer, of which a graph knows when it runs.
    slices = tf.data.Dataset.from_tensor_slices(other).repeat(2).batch(ROWS)
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.fit(slices, verbose=0)


def test_data_without_targets_are_refused():
    model = make()
    data = STREAMS.dataset().map(lambda inputs, targets: inputs)
    with pytest.raises(ValueError) as error:
        model.fit(data, steps_per_epoch=1, verbose=0)
    assert (
        "`x` must be a data set of inputs and targets. Received: "
        "targets=None." in str(error.value)
    )


def test_targets_of_several_outputs_are_refused():
    model = make()
    data = STREAMS.dataset().map(
        lambda inputs, targets: (inputs, {**targets, "more": inputs["length"]})
    )
    with pytest.raises(ValueError) as error:
        model.fit(data, steps_per_epoch=1, verbose=0)
    assert (
        "`targets` must be of one output. Received: targets=['log_probs', "
        "'more']." in str(error.value)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"batch_size": 0},
            "`batch_size` must be positive. Received: batch_size=0.",
        ),
        (
            {"batch_size": 2.5},
            "`batch_size` must be an integer. Received: batch_size=2.5.",
        ),
        (
            {"batch_size": 2, "evaluation_batch_size": 0},
            "`evaluation_batch_size` must be positive. Received: "
            "evaluation_batch_size=0.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        models.with_memory(build(), **arguments)
    assert str(error.value) == message


def test_evaluation_is_of_the_very_weights():
    with pytest.raises(ValueError) as error:
        models.with_memory(build(), ROWS, evaluation_model=build())
    assert str(error.value) == (
        "`evaluation_model` must be a variant of the model, with its very "
        "weights. Received: evaluation_model='transformer_xl'."
    )


def test_evaluation_is_of_the_very_weights_where_none_is_trained():
    model, other = build(), build()
    model.trainable = other.trainable = False
    with pytest.raises(ValueError) as error:
        models.with_memory(model, ROWS, evaluation_model=other)
    assert "`evaluation_model` must be a variant" in str(error.value)
    variant = models.transformer_xl_variant(model, memory_length=9)
    models.with_memory(model, ROWS, evaluation_model=variant)


@pytest.mark.parametrize("name", ["loss", "metrics", "weighted_metrics"])
def test_losses_and_metrics_of_others_are_refused(name):
    with pytest.raises(ValueError) as error:
        make(**{name: ["mse"]})
    assert str(error.value) == (
        f"`{name}` must not be given: the model has its loss and its metrics "
        f"itself. Received: {name}=['mse']."
    )


def test_other_models_are_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    with pytest.raises(ValueError) as error:
        models.with_memory(model, ROWS)
    assert str(error.value) == (
        "`model` must come from `build_transformer_xl`. "
        "Received: model='other'."
    )


def test_another_token_begins_rows_or_none_does():
    streams = np.arange(24).reshape(2, 12) % 9 + 3
    streams[0, 8] = 7
    for begin_id, expected in ((7, [4, 6]), (None, [6, 6])):
        model = models.build_transformer_xl(
            vocabulary_size=12,
            num_layers=1,
            hidden_dim=8,
            num_heads=2,
            intermediate_dim=8,
            memory_length=6,
        )
        stream_model = models.with_memory(model, 2, begin_id=begin_id)
        for start in (0, 4, 8):
            part = streams[:, start : start + 4]
            stream_model(
                {"token_ids": part, "length": np.array([4, 4])}, training=True
            )
        np.testing.assert_array_equal(
            stream_model.memory_variables[1], expected
        )
    with pytest.raises(ValueError) as error:
        models.with_memory(model, 2, begin_id=-1)
    assert str(error.value) == (
        "`begin_id` must not be negative. Received: begin_id=-1."
    )


def test_a_row_that_begins_anew_forgets_what_is_no_number():
    model = models.build_transformer_xl(
        vocabulary_size=12,
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=8,
        memory_length=6,
    )
    stream_model = models.with_memory(model, 1)
    memory, length = stream_model.memory_variables
    memory.assign(np.full(memory.shape, np.nan))
    length.assign([6])
    for first, is_finite in ((5, False), (2, True)):
        outputs = stream_model(
            {"token_ids": np.array([[first, 6, 7]]), "length": np.array([3])},
            training=True,
        )
        assert np.all(np.isfinite(outputs["log_probs"])) == is_finite


def test_losses_of_layers_count():
    model = models.build_transformer_xl(
        vocabulary_size=12,
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=8,
        dropout=0.0,
        memory_length=4,
        seed=1,
    )
    batch = (
        {"token_ids": np.array([[2, 6, 7]]), "length": np.array([3])},
        {"log_probs": np.array([[6, 7, 8]])},
    )
    losses = []
    for regularizer in (None, keras.regularizers.L2(0.5)):
        narrow = model.get_layer("feed_forward_0").layer.narrow
        narrow.kernel.regularizer = regularizer
        stream_model = models.with_memory(model, 1)
        stream_model.compile(keras.optimizers.SGD(0.0))
        losses.append(stream_model.test_on_batch(*batch, return_dict=True))
    difference = losses[1]["loss"] - losses[0]["loss"]
    np.testing.assert_allclose(
        difference, 0.5 * np.sum(narrow.kernel.numpy() ** 2), rtol=1e-4
    )
    assert losses[1]["bits_per_token"] == losses[0]["bits_per_token"]

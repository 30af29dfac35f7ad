"""What VQ, VQEMA and DVQ have in common.

What every layer owes (configuration, saving, export, shapes, precision) is
tested in tests/conformance.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import DVQ
from keras_xf.layers import VQ
from keras_xf.layers import VQEMA
from keras_xf.layers import Restart
from tests.compiled_programs import compiled_program
from tests.compiled_programs import temporaries
from tests.oracles import quantization as oracle

MAKERS = {
    "VQ": lambda **kwargs: VQ(**{"num_codes": 6, **kwargs}),
    "VQEMA": lambda **kwargs: VQEMA(**{"num_codes": 6, **kwargs}),
    "VQEMA, zeros, restart": lambda **kwargs: VQEMA(
        **{
            "num_codes": 6,
            "ema_init": "zero_debias",
            "restart": Restart(fraction=0.9),
            "seed": 1,
            **kwargs,
        }
    ),
    "VQEMA, samples": lambda **kwargs: VQEMA(
        **{"num_codes": 6, "samples": 3, "seed": 1, **kwargs}
    ),
    "DVQ": lambda **kwargs: DVQ(**{"num_codes": 6, **kwargs}),
    "DVQ, projected": lambda **kwargs: DVQ(
        **{"num_codes": 6, "projected": True, **kwargs}
    ),
}
POLICIES = ("float32", "float64", "mixed_float16", "mixed_bfloat16")


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def values(layer):
    # Without the seeds, which move on and begin anywhere.
    return [variable.numpy() for variable in layer.weights]


def assert_same(first, second, **tolerances):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 0, **tolerances})


def is_random(layer):
    return bool(getattr(layer, "restart", None) or getattr(layer, "samples", 0))


def built(make, shape=(4, 5, 4), **kwargs):
    layer = make(**kwargs)
    layer.build(shape)
    return layer


def twin(make, layer, shape=(4, 5, 4), **kwargs):
    other = built(make, shape, **kwargs)
    other.set_weights(layer.get_weights())
    return other


@pytest.mark.parametrize("policy", POLICIES)
def test_outputs_are_rows_of_the_codebook(make, policy):
    layer = built(make, dtype=policy)
    inputs = tf.cast(normal(4, 5, 4), layer.compute_dtype)
    expected = layer.decode_from_indices(layer.encode(inputs))
    assert expected.dtype == layer.compute_dtype
    for call in (
        layer,
        tf.function(layer),
        tf.function(layer, jit_compile=True),
    ):
        outputs = call(inputs)
        assert outputs.dtype == layer.compute_dtype
        np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_state_is_single_precision(make, policy):
    layer = built(make, dtype=policy)
    layer(normal(4, 5, 4), training=True)
    dtypes = {v.name: v.dtype for v in layer.weights}
    for name in ("steps", "draw_seed"):
        assert dtypes.pop(name, "int32") == "int32"
    assert set(dtypes.values()) == {"float32"}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_learns_what_single_precision_does(make, policy):
    single = built(make)
    half = twin(make, single, dtype=policy)
    for seed in range(3):
        inputs = tf.cast(normal(4, 5, 4, seed=seed), half.compute_dtype)
        # Of the same rounded inputs all is the same but the order of sums.
        rounded = tf.cast(inputs, "float32")
        np.testing.assert_array_equal(
            half.encode(inputs), single.encode(rounded)
        )
        half(inputs, training=True)
        single(rounded, training=True)
        (loss,), (expected,) = half.losses, single.losses
        assert loss.dtype == "float32"
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert_same(values(half), values(single), rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_the_inputs(make):
    layer = built(make, commitment=0.0)
    inputs, factors = tf.constant(normal(4, 5, 4)), normal(4, 5, 4, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs, training=True) * factors)
    expected = factors
    if hasattr(layer, "projections"):
        expected = factors @ np.concatenate([*layer.projections.numpy()], -1).T
    gradient = tape.gradient(loss, inputs)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_commitment_draws_inputs_to_their_codes():
    for name in ("VQEMA", "VQ", "DVQ"):
        layer = built(MAKERS[name], commitment=0.4)
        inputs = tf.constant(normal(4, 5, 4))
        mask = normal(4, 5) > -0.5
        codes = layer.decode_from_indices(layer.encode(inputs))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            layer(inputs, mask=mask)
            (loss,) = layer.losses
        gradient = tape.gradient(loss, inputs)
        difference = (inputs - codes).numpy() * mask[..., None]
        number = mask.sum() * 4
        np.testing.assert_allclose(
            gradient, 2 * 0.4 * difference / number, atol=1e-7
        )
        weight = 1.4 if name == "VQ" else 0.4
        np.testing.assert_allclose(
            loss, weight * np.sum(difference**2) / number, rtol=1e-5
        )


def test_losses_are_sums_over_entries_on_demand(make):
    summed = built(make, commitment_reduction="sum_over_dim")
    mean = twin(make, summed)
    inputs, mask = normal(4, 5, 4), normal(4, 5) > -0.5
    for layer in (summed, mean):
        layer(inputs, mask=mask)
    # Of four entries, in parts or not.
    np.testing.assert_allclose(summed.losses[0], 4 * mean.losses[0], rtol=1e-6)
    assert mean.losses[0] > 0


def test_outputs_have_no_gradient_for_the_codebook(make):
    layer = built(make)
    inputs = normal(4, 5, 4)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(layer.codes.value)
        outputs = tf.reduce_sum(layer(inputs) ** 2)
        (loss,) = layer.losses
    assert tape.gradient(outputs, layer.codes.value) is None
    learns_by_gradient = isinstance(layer, VQ)
    gradient = tape.gradient(loss, layer.codes.value)
    assert (gradient is not None) == learns_by_gradient
    assert (len(layer.trainable_weights) == 1) == learns_by_gradient


def test_inference_changes_nothing(make):
    inputs = normal(8, 5, 4)
    layer = make()
    model = keras.Sequential(
        [keras.Input((5, 4)), layer, keras.layers.Dense(4)]
    )
    model.compile("sgd", "mse", jit_compile=False)

    def values(layer):
        return [variable.numpy() for variable in layer.variables]

    before = values(layer)
    layer(inputs)
    layer(inputs, training=False)
    layer.encode(inputs)
    model.predict(inputs, verbose=0)
    model.evaluate(inputs, inputs, verbose=0)
    assert_same(values(layer), before)
    model.fit(inputs, inputs, verbose=0)
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(values(layer), before, strict=True)
    ]
    assert changed[0], "the codebook"


def test_what_is_frozen_does_not_learn(make):
    inputs = normal(8, 5, 4)
    frozen = built(make, (8, 5, 4), freeze=True)
    fixed = built(make, (8, 5, 4))
    fixed.trainable = False
    for layer in (frozen, fixed):
        before = values(layer)
        layer(inputs, training=True)
        assert_same(values(layer), before)
        assert not layer.trainable_weights


def test_masked_vectors_are_nothing(make):
    layer = built(make, (2, 7, 4), return_indices=True)
    alone = twin(make, layer, (2, 4, 4), return_indices=True)
    inputs = normal(2, 7, 4)
    # Not even what is no number may get in.
    inputs[:, 4:] = np.nan
    mask = np.arange(7) < np.full((2, 1), 4)
    # Of another shape other noise is drawn.
    training = not is_random(layer)
    outputs, indices = layer(inputs, training=training, mask=mask)
    expected, expected_indices = alone(inputs[:, :4], training=training)
    np.testing.assert_array_equal(outputs[:, :4], expected)
    np.testing.assert_array_equal(outputs[:, 4:], np.zeros((2, 3, 4)))
    np.testing.assert_array_equal(indices[:, :4], expected_indices)
    assert np.all(indices[:, 4:] == -1)
    np.testing.assert_allclose(layer.losses[0], alone.losses[0], rtol=1e-6)
    assert_same(values(layer), values(alone), atol=1e-6)
    np.testing.assert_array_equal(
        layer.decode_from_indices(indices)[:, 4:], np.zeros((2, 3, 4))
    )
    assert np.all(layer.encode(inputs, mask=mask)[:, 4:] == -1)


def test_mask_of_the_model_arrives_and_passes_on(make):
    layer = make(return_indices=True)
    inputs = keras.Input((7, 4))
    outputs, indices = layer(keras.layers.Masking()(inputs))
    assert outputs._keras_mask is not None
    assert indices._keras_mask is not None
    model = keras.Model(inputs, [outputs, indices])
    array = normal(2, 7, 4)
    array[:, 5:] = 0
    found, indices = model(array)
    np.testing.assert_array_equal(found[:, 5:], np.zeros((2, 2, 4)))
    assert np.all(indices[:, 5:] == -1) and np.all(indices[:, :5] >= 0)


@pytest.mark.parametrize("how", ["empty", "masked"])
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_nothing_is_learnt_of_nothing(make, how, jit_compile):
    inputs = normal(0 if how == "empty" else 2, 5, 4)
    mask = None if how == "empty" else np.zeros((2, 5), "bool")
    layer = built(make)
    before = values(layer)

    def call(inputs):
        outputs = layer(inputs, training=True, mask=mask)
        return outputs, layer.losses[0]

    if jit_compile is not None:
        call = tf.function(call, jit_compile=jit_compile)
    outputs, loss = call(tf.constant(inputs))
    assert loss == 0
    np.testing.assert_array_equal(outputs, np.zeros(inputs.shape))
    assert_same(values(layer), before)


def test_what_is_not_finite_is_refused_or_not_learnt(make):
    layer = built(make)
    inputs = normal(4, 5, 4)
    inputs[1, 2, 3] = np.nan
    before = values(layer)
    for function in (lambda x: layer(x, training=True), layer.encode):
        with pytest.raises(ValueError, match="`inputs` must be finite"):
            function(inputs)
    assert_same(values(layer), before)
    step = tf.function(lambda x: (layer(x, training=True), layer.losses[0]))
    _, loss = step(tf.constant(inputs))
    assert np.isnan(loss), "nobody would notice"
    assert_same(values(layer), before)


def test_training_goes_on_after_it_was_saved(make, tmp_path):
    def new_model():
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((5, 4)), keras.layers.Dense(4), make()]
        )
        model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
        return model

    def train(model, seeds):
        for seed in seeds:
            inputs = normal(8, 5, 4, seed=seed)
            model.train_on_batch(inputs, inputs)

    model = new_model()
    train(model, range(3))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
    of_file = keras.saving.load_model(tmp_path / "model.keras")
    of_weights, of_checkpoint = new_model(), new_model()
    for other in (of_weights, of_checkpoint):
        # The optimizer's own state is loaded where it has been made.
        other.optimizer.build(other.trainable_variables)
    of_weights.load_weights(tmp_path / "model.weights.h5")
    tf.train.Checkpoint(model=of_checkpoint).read(
        str(tmp_path / "model")
    ).expect_partial()
    others = (of_file, of_weights, of_checkpoint)
    for other in others:
        for a, b in zip(
            other.layers[-1].weights, model.layers[-1].weights, strict=True
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)
    train(model, range(3, 6))
    for other in others:
        train(other, range(3, 6))
        for a, b in zip(other.weights, model.weights, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_replicas_learn_as_one_device(make, strategy):
    one = built(make)
    with strategy.scope():
        both = twin(make, one)
    for seed in range(3):
        inputs = normal(4, 5, 4, seed=seed)
        mask = np.ones((4, 5), "bool")
        # The first replica has more vectors, of the first batch all.
        mask[2:, 1:] = seed == 0
        one(inputs, training=True, mask=mask)
        step_on_replicas(strategy, both, inputs, mask)
        if not is_random(one):
            assert_same(values(both), values(one), atol=1e-6)
            usage = both.code_usage.result()
            for key, expected in one.code_usage.result().items():
                key = key.replace(one.name, both.name)
                np.testing.assert_allclose(usage[key], expected, rtol=1e-5)
    for variable in both.weights:
        first, second = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)


def step_on_replicas(strategy, layer, inputs, mask):
    def half(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                np.split(array, 2)[context.replica_id_in_sync_group]
            )
        )

    def run(inputs, mask):
        layer(inputs, training=True, mask=mask)

    tf.function(strategy.run)(run, args=(half(inputs), half(mask)))


def test_models_train_alike_on_replicas(strategy):
    def new_model():
        dense = [
            keras.layers.Dense(4, kernel_initializer="identity")
            for _ in range(3)
        ]
        first, second = (VQEMA(6, commitment=3.0), VQ(6, commitment=3.0))
        for seed, layer in enumerate((first, second)):
            layer.set_codebook(normal(6, 4, seed=seed))
        model = keras.Sequential(
            [keras.Input((5, 4)), dense[0], first, dense[1], second, dense[2]]
        )
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        return model

    one = new_model()
    with strategy.scope():
        both = new_model()
    logs = []
    for model in (one, both):
        inputs = normal(8, 5, 4)
        logs.append(
            model.fit(
                inputs, inputs, batch_size=8, epochs=3, shuffle=False, verbose=0
            ).history
        )
    # Replicas share layers: the losses that one has added must be its own.
    np.testing.assert_allclose(logs[1]["loss"], logs[0]["loss"], rtol=1e-5)
    for a, b in zip(both.weights, one.weights, strict=True):
        np.testing.assert_allclose(
            a.numpy(), b.numpy(), atol=1e-5, err_msg=a.path
        )


@pytest.mark.parametrize("is_masked", [False, True])
def test_replicas_restart_from_vectors_of_all(is_masked, strategy):
    restart = Restart(threshold=1.5)
    with strategy.scope():
        layer = built(VQEMA, num_codes=7, decay=0.5, restart=restart, seed=2)
    far = normal(7, 4) + np.array([100, 0, 0, 0], "float32")
    far[0] = 0
    layer.set_codebook(far)
    inputs = normal(4, 5, 4)
    mask = np.ones((4, 5), "bool")
    mask[2:] = not is_masked
    step_on_replicas(strategy, layer, inputs, mask)
    codes = layer.codebook.numpy()
    for variable in layer.weights:
        first, second = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)
    halves = np.split(inputs.reshape(-1, 4), 2)
    of_halves = [
        sum((row == code).all() for code in codes for row in half)
        for half in halves
    ]
    # Six are dead; each replica gives three, or what the masked cannot give
    # is left for another step.
    assert of_halves == ([3, 0] if is_masked else [3, 3])
    assert len(np.unique(codes, axis=0)) == 7
    mean = mask.sum() / 7
    assert np.sum(np.isclose(layer.usage(), mean)) == sum(of_halves)


def test_export_assigns_nothing(make, tmp_path):
    layer = make(return_indices=True)
    model = keras.Sequential([keras.Input((5, 4)), layer])
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec((None, 5, 4))]
    archive.add_endpoint("call", lambda x: model(x, training=False), signature)
    archive.add_endpoint("encode", layer.encode, signature)
    indices = layer.encode(normal(2, 5, 4))
    spec = tf.TensorSpec((None, *indices.shape[1:]), "int32")
    archive.add_endpoint("decode", layer.decode_from_indices, [spec])
    archive.write_out(tmp_path, verbose=False)
    artifact = tf.saved_model.load(tmp_path)
    inputs = normal(3, 5, 4, seed=5)
    codes = artifact.encode(inputs)
    np.testing.assert_array_equal(codes, layer.encode(inputs))
    outputs, found = artifact.call(inputs)
    np.testing.assert_array_equal(found, codes)
    np.testing.assert_array_equal(artifact.decode(codes), outputs)
    ops = set()
    for endpoint in (artifact.call, artifact.encode, artifact.decode):
        for concrete in endpoint.concrete_functions:
            graph = concrete.graph.as_graph_def()
            # With all functions that are called in it.
            bodies = [f.node_def for f in graph.library.function]
            for body in (graph.node, *bodies):
                ops |= {node.op for node in body}
    assert "GatherV2" in ops, "looked at nothing"
    assert not [op for op in ops if "Assign" in op or "Random" in op]


def test_steps_repeat_bitwise(make):
    layer = built(make)
    before = layer.get_weights()
    step = tf.function(layer, jit_compile=True)
    found = []
    for _ in range(2):
        layer.set_weights(before)
        for seed in range(3):
            step(tf.constant(normal(4, 5, 4, seed=seed)), training=True)
        found.append(values(layer))
    assert_same(*found)


@pytest.mark.parametrize("maker", ["VQ", "VQEMA", "DVQ"])
def test_a_step_holds_no_array_of_all_vectors_by_all_codes(maker):
    number, num_codes, dim = 16_384, 8192, 64
    layer = built(MAKERS[maker], (number, dim), num_codes=num_codes)

    @tf.function(jit_compile=True)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**2) + layer.losses[0]
        weights = [weight.value for weight in layer.trainable_weights]
        return tape.gradient(loss, [inputs, *weights])

    program = compiled_program(step, tf.TensorSpec((number, dim)))
    # Neither distances nor one-hot rows, not even inside of a fusion.
    largest = max(
        math.prod(instruction.shape.dimensions)
        for computation in program.hlo_module.computations
        for instruction in computation.instructions
    )
    assert num_codes * dim < largest <= number * num_codes / 10
    assert temporaries(program) <= 4 * number * num_codes / 10


def test_set_codebook_begins_again(make):
    layer = built(make)
    expected = twin(make, layer)
    layer(normal(4, 5, 4), training=True)
    other = normal(*layer.codebook.shape, seed=7)
    layer.set_codebook(other)
    expected.set_codebook(other)
    np.testing.assert_array_equal(layer.codebook, other)
    assert_same(values(layer), values(expected))
    layer(normal(4, 5, 4, seed=8), training=True)
    assert np.all(np.isfinite(layer.codebook))
    np.testing.assert_allclose(layer.codebook.shape, other.shape)
    # Before anything else, too.
    early = make()
    early.set_codebook(other)
    np.testing.assert_array_equal(early.codebook, other)


@pytest.mark.parametrize("seed", range(10))
def test_adapt_finds_blobs(seed):
    centers = 10 * normal(6, 2)
    vectors = np.repeat(centers, 30, axis=0) + 1e-3 * normal(180, 2, seed=1)
    layer = VQEMA(num_codes=6, seed=seed, name="codes")
    layer.adapt(vectors.reshape(18, 10, 2))
    found = layer.encode(centers)
    np.testing.assert_allclose(
        layer.decode_from_indices(found), centers, atol=1e-3
    )
    np.testing.assert_array_equal(layer.usage(), [30] * 6)
    before = layer.codebook.numpy()
    layer(vectors, training=True)
    # Had the sums not been multiplied by the counts, codes would shrink.
    np.testing.assert_allclose(layer.codebook, before, atol=1e-3)
    usage = layer.code_usage.result()
    np.testing.assert_allclose(usage["codes_perplexity"], 6, rtol=1e-5)


def test_adapt_leaves_out_what_is_masked(make):
    layer = make(seed=3)
    inputs = normal(3, 20, 4)
    inputs[:, 10:] = 1e6
    layer.adapt(inputs, mask=np.arange(20) < np.full((3, 1), 10))
    assert np.abs(layer.codebook).max() < 10
    if not hasattr(layer, "projections"):
        rows = layer.decode_from_indices(layer.encode(inputs[:, :10]))
        error = np.mean((rows - inputs[:, :10]) ** 2)
        assert error < np.mean(inputs[:, :10] ** 2)
    with pytest.raises(ValueError, match="`inputs` must hold a vector"):
        layer.adapt(inputs, mask=np.zeros((3, 20), "bool"))


def test_metrics_are_in_the_logs(make):
    layer = make(name="codes")
    model = keras.Sequential(
        [keras.Input((5, 4)), layer, keras.layers.Dense(4)]
    )
    model.compile("sgd", "mse", jit_compile=False)
    inputs = normal(8, 5, 4)
    logs = model.fit(
        inputs, inputs, validation_data=(inputs, inputs), verbose=0
    ).history
    names = {
        *("codes_perplexity", "codes_running_perplexity"),
        *("codes_active_codes", "codes_dead_fraction"),
    }
    losses = {"codes_commitment"}
    if isinstance(layer, VQ):
        losses.add("codes_codebook")
    # What is minimized is their sum and the model's own loss.
    assert np.all(logs["loss"] > sum(np.array(logs[name]) for name in losses))
    assert names <= set(logs)
    assert {f"val_{name}" for name in names} <= set(logs)
    for name in names:
        assert np.all(np.isfinite(logs[name] + logs[f"val_{name}"]))
    assert 1 < logs["codes_perplexity"][0] <= 6


def test_metrics_count_the_hits_since_the_last_reset():
    layer = built(VQEMA, (6, 2), num_codes=4, name="codes")
    layer.set_codebook([[0, 0], [1, 0], [0, 1], [5, 5]])
    layer(np.array([[0, 0.1], [0.9, 0]] * 2), training=True)
    usage = layer.code_usage.result()
    np.testing.assert_allclose(usage["codes_perplexity"], 2, rtol=1e-5)
    assert usage["codes_active_codes"] == 2
    assert usage["codes_dead_fraction"] == 0
    layer.code_usage.reset_state()
    running = layer.code_usage.result()
    assert running["codes_active_codes"] == 4
    layer.code_usage.reset_state()
    layer(np.array([[0, 0.1]]), training=True)
    np.testing.assert_allclose(
        layer.code_usage.result()["codes_perplexity"], 1, rtol=1e-5
    )


def test_usage_is_the_running_count(make):
    layer = built(make)
    assert layer.usage().shape == layer.codebook.shape[:-1]
    inputs = normal(4, 5, 4)
    indices = np.reshape(layer.encode(inputs), (20, -1))
    hits = np.array([np.bincount(part, minlength=6) for part in indices.T])
    layer(inputs, training=True)
    usage = np.reshape(layer.usage(), (-1, 6))
    if not is_random(layer):
        np.testing.assert_allclose(usage, 0.99 + 0.01 * hits, rtol=1e-6)


def test_assignments_are_those_of_the_oracle():
    layer = built(VQEMA, (20, 4), num_codes=6)
    inputs = normal(20, 4)
    np.testing.assert_array_equal(
        layer.encode(inputs), oracle.nearest(inputs, layer.codebook.numpy())
    )


def test_the_order_of_codes_does_not_matter(make):
    layer = built(make)
    order = np.array([3, 1, 5, 0, 2, 4])
    codes = layer.codebook.numpy()
    inputs = normal(4, 5, 4)
    expected, indices = layer(inputs), layer.encode(inputs)
    layer.set_codebook(codes[..., order, :])
    np.testing.assert_array_equal(layer(inputs), expected)
    np.testing.assert_array_equal(order[layer.encode(inputs)], indices)


def test_rejects_what_is_no_index(make):
    layer = built(make)
    shape = (3, 2) if isinstance(layer, DVQ) else (3,)
    for value in (6, -2):
        with pytest.raises(ValueError) as error:
            layer.decode_from_indices(np.full(shape, value))
        assert str(error.value) == (
            "`indices` must lie in [0, 6), or be -1 where a mask has hidden a "
            f"vector. Received: indices={value}."
        )
    with pytest.raises(ValueError, match="`indices` must be integers"):
        layer.decode_from_indices(np.zeros(shape))


def test_rejects_what_is_no_codebook(make):
    layer = built(make)
    before = values(layer)
    good = layer.codebook.numpy()
    for bad in (good[..., :-1, :], good[..., :-1], good[..., None]):
        with pytest.raises(ValueError, match="`codebook` must have the shape"):
            layer.set_codebook(bad)
    with pytest.raises(ValueError, match="`codebook` must be finite"):
        layer.set_codebook(good * np.inf)
    assert_same(values(layer), before)


def test_rejects_masks_of_other_shapes(make):
    layer = built(make)
    for shape in ((4,), (4, 6), (4, 5, 4)):
        with pytest.raises(ValueError, match="`mask` must have the shape of"):
            layer(normal(4, 5, 4), mask=np.ones(shape, "bool"))


def test_has_no_codebook_before_it_is_built(make):
    layer = make()
    for use in (
        lambda: layer.codebook,
        layer.usage,
        lambda: layer.decode_from_indices(np.zeros(3, "int32")),
    ):
        with pytest.raises(ValueError, match="must be built"):
            use()
    # What brings the width builds it.
    assert layer.encode(normal(3, 4)).shape[0] == 3
    assert layer.built

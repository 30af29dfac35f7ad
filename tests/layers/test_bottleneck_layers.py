"""What all layers of discrete latents have in common.

What those with a codebook have in common is in test_codebook_layers, what
every layer owes in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import DVQ
from keras_xf.layers import VQ
from keras_xf.layers import VQEMA
from keras_xf.layers import GumbelSoftmax
from keras_xf.layers import Restart
from keras_xf.layers import SemanticHashing

MAKERS = {
    "VQ": lambda **kwargs: VQ(6, **kwargs),
    "VQEMA": lambda **kwargs: VQEMA(6, **kwargs),
    "DVQ": lambda **kwargs: DVQ(6, projected=True, **kwargs),
    "GumbelSoftmax": lambda **kwargs: GumbelSoftmax(6, **kwargs),
    "SemanticHashing": lambda **kwargs: SemanticHashing(6, **kwargs),
}
NUM_CODES = {
    "VQ": 6,
    "VQEMA": 6,
    "DVQ": 6**2,
    "GumbelSoftmax": 6,
    "SemanticHashing": 2**6,
}
# Those whose training is random.
RANDOM = {
    "VQEMA, samples, accumulated": lambda: VQEMA(
        6, samples=2, accumulation_steps=2, restart=Restart(threshold=0.9)
    ),
    "VQ, first batch": lambda: VQ(6, first_batch="k_means"),
    "GumbelSoftmax": lambda: GumbelSoftmax(
        6,
        temperature=keras.optimizers.schedules.ExponentialDecay(2.0, 1, 0.8),
        divergence=0.1,
    ),
    "GumbelSoftmax, distance": lambda: GumbelSoftmax(6, logits="distance"),
    "SemanticHashing": lambda: SemanticHashing(6),
}


POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def chain():
    """A model of all layers, one behind the other, and these by name."""
    named = {maker: MAKERS[maker](seed=1) for maker in MAKERS}
    outputs = inputs = keras.Input((5, 4))
    for layer in named.values():
        outputs = layer(keras.layers.Dense(4)(outputs))
    return keras.Model(inputs, keras.layers.Dense(4)(outputs)), named


def ops_in(concrete):
    """Types of the operations of a function and of all that it calls."""
    graph = concrete.graph.as_graph_def()
    bodies = (graph.node, *(f.node_def for f in graph.library.function))
    return {node.op for body in bodies for node in body}


@pytest.mark.parametrize(
    ("maker", "way"),
    [
        *((maker, "file") for maker in RANDOM),
        ("SemanticHashing", "weights"),
        ("SemanticHashing", "checkpoint"),
    ],
)
def test_training_that_goes_on_draws_what_it_would_have_drawn(
    maker, way, tmp_path
):
    def new_model():
        model = keras.Sequential(
            [keras.Input((5, 4)), keras.layers.Dense(4), RANDOM[maker]()]
        )
        model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
        # An optimizer's own state is loaded where it has been made.
        model.optimizer.build(model.trainable_variables)
        return model

    def train(model, seeds):
        for seed in seeds:
            inputs = normal(8, 5, 4, seed=seed)
            model.train_on_batch(inputs, inputs)

    model = new_model()
    if maker == "VQ, first batch":
        # The seed itself has to be kept, too.
        seeds = (0, 0, 3)
    else:
        train(model, range(3))
        seeds = (0, 3, 5)
    if way == "file":
        model.save(tmp_path / "model.keras")
        other = keras.saving.load_model(tmp_path / "model.keras")
    elif way == "weights":
        model.save_weights(tmp_path / "model.weights.h5")
        other = new_model()
        other.load_weights(tmp_path / "model.weights.h5")
    else:
        tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
        other = new_model()
        tf.train.Checkpoint(model=other).read(
            str(tmp_path / "model")
        ).expect_partial()
    # Unlike a seed generator's, whose state Keras does not save.
    train(model, range(*seeds[1:]))
    train(other, range(*seeds[1:]))
    for a, b in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_masked_inputs_pass_through_on_demand(maker, policy):
    layer = MAKERS[maker](
        masked_outputs="inputs", return_indices=True, dtype=policy, seed=1
    )
    layer.build((4, 5, 4))
    inputs = tf.cast(normal(4, 5, 4), layer.compute_dtype)
    mask = np.arange(5) < np.full((4, 1), 3)
    for training in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, indices = layer(inputs, training=training, mask=mask)
            loss = tf.reduce_sum(outputs[:, 3:] ** 2)
        np.testing.assert_array_equal(outputs[:, 3:], inputs[:, 3:])
        assert np.all(indices[:, 3:] == -1) and np.all(indices[:, :3] >= 0)
        assert np.any(outputs[:, :3] != inputs[:, :3])
        gradient = tape.gradient(loss, inputs)
        np.testing.assert_array_equal(gradient[:, 3:], 2 * inputs[:, 3:])
        assert np.all(gradient[:, :3] == 0)
    again = type(layer).from_config(layer.get_config())
    assert again.masked_outputs == "inputs"


@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_not_finite_is_seen_and_not_learnt(maker):
    layer = MAKERS[maker](seed=1)
    layer.build((4, 5, 4))
    inputs = normal(4, 5, 4)
    layer(inputs, training=True)
    before = [variable.numpy() for variable in layer.weights]
    inputs[1, 2, 3] = np.nan
    for jit_compile in (False, True):
        for training in (False, True):
            # An error cannot be raised there.
            call = tf.function(layer, jit_compile=jit_compile)
            outputs = call(tf.constant(inputs), training=training).numpy()
            assert np.any(np.isnan(outputs[1, 2])), "nobody would notice"
            assert np.all(np.isfinite(np.delete(outputs, 1, axis=0)))
            for variable, value in zip(layer.weights, before, strict=True):
                np.testing.assert_array_equal(
                    variable.numpy(), value, variable.path
                )


@pytest.mark.parametrize("maker", ["GumbelSoftmax", "SemanticHashing"])
def test_no_replica_learns_where_one_has_what_is_not_finite(maker, strategy):
    with strategy.scope():
        layer = MAKERS[maker](seed=1)
        layer.build((4, 4))
    before = [variable.numpy() for variable in layer.weights]

    def run():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        inputs = tf.where(tf.equal(number, 1), np.nan, 1.0) * tf.ones((4, 4))
        layer(inputs, training=True)

    tf.function(strategy.run)(run)
    for variable, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_is_drawn_or_assigned_in_graphs_of_inference(maker):
    layer = MAKERS[maker](return_indices=True)
    spec = tf.TensorSpec((None, 5, 4))
    layer.build(spec.shape)
    indices = layer.encode(normal(2, 5, 4))
    of_indices = tf.TensorSpec((None, *indices.shape[1:]), "int32")
    ops = set()
    for function, signature in (
        (lambda x: layer(x, training=False), spec),
        (layer.encode, spec),
        (layer.decode_from_indices, of_indices),
    ):
        ops |= ops_in(tf.function(function).get_concrete_function(signature))
    assert "ReadVariableOp" in ops, "looked at nothing"
    assert not [op for op in ops if "Assign" in op or "Random" in op]


@pytest.mark.parametrize("maker", ["VQEMA", "GumbelSoftmax", "SemanticHashing"])
def test_rematerialization_makes_no_second_step(maker):
    with keras.RematScope("full"):
        layer = MAKERS[maker]()
        dense = keras.layers.Dense(4)
    inputs = tf.constant(normal(4, 5, 4))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(dense(inputs), training=True) ** 2)
        return tape.gradient(loss, dense.kernel.value)

    layer.build(inputs.shape)
    dense.build(inputs.shape)
    assert np.any(step())
    assert int(layer.steps) == 1


@pytest.mark.parametrize("maker", MAKERS)
def test_freeze_is_fixed_once_weights_are_made(maker):
    layer = MAKERS[maker](name="codes")
    layer.freeze = True
    layer.build((None, 4))
    assert layer.get_config()["freeze"] and not layer.trainable_weights
    layer.freeze = True
    with pytest.raises(ValueError) as error:
        layer.freeze = False
    assert str(error.value) == (
        "`freeze` must be set before a layer is built: one that was built "
        "frozen stays so, and `trainable=False` freezes one that was not. "
        "Received: freeze=False."
    )
    assert layer.freeze


# VQ has all of it from where VQEMA has it.
@pytest.mark.parametrize(
    "maker", ["VQEMA", "DVQ", "GumbelSoftmax", "SemanticHashing"]
)
def test_export_encodes_and_decodes_under_each_policy(maker, tmp_path):
    archive = keras.export.ExportArchive()
    spec = tf.TensorSpec((None, 5, 4))
    layers = {policy: MAKERS[maker](dtype=policy) for policy in POLICIES}
    for policy, layer in layers.items():
        layer.build(spec.shape)
        archive.track(layer)
        archive.add_endpoint(f"{policy}_encode", layer.encode, [spec])
        indices = layer.encode(normal(2, 5, 4))
        of_indices = tf.TensorSpec((None, *indices.shape[1:]), "int32")
        archive.add_endpoint(
            f"{policy}_decode", layer.decode_from_indices, [of_indices]
        )
    archive.write_out(tmp_path, verbose=False)
    artifact = tf.saved_model.load(tmp_path)
    inputs = normal(3, 5, 4, seed=5)
    for policy, layer in layers.items():
        encode = getattr(artifact, f"{policy}_encode")
        decode = getattr(artifact, f"{policy}_decode")
        indices = encode(inputs)
        np.testing.assert_array_equal(indices, layer.encode(inputs))
        outputs = decode(indices)
        assert outputs.dtype == layer.compute_dtype
        np.testing.assert_array_equal(outputs, layer(inputs))
        for endpoint in (encode, decode):
            (concrete,) = endpoint.concrete_functions
            ops = ops_in(concrete)
            assert "ReadVariableOp" in ops, "looked at nothing"
            assert not [op for op in ops if "Assign" in op or "Random" in op]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_files_keep_all_digits_under_mixed_policies(maker, policy, tmp_path):
    def new_model():
        layer = MAKERS[maker](dtype=policy)
        return keras.Sequential([keras.Input((5, 4)), layer])

    def train(model, seed):
        model(normal(8, 5, 4, seed=seed), training=True)

    model = new_model()
    train(model, 0)
    assert {v.dtype for v in model.weights} <= {"float32", "int32"}
    model.save(tmp_path / "model.keras")
    of_file = keras.saving.load_model(tmp_path / "model.keras")
    tf.train.Checkpoint(model=model).write(str(tmp_path / "model"))
    of_checkpoint = new_model()
    tf.train.Checkpoint(model=of_checkpoint).read(
        str(tmp_path / "model")
    ).assert_existing_objects_matched()
    for seed in (None, 1):
        for each in (model, of_file, of_checkpoint):
            if seed is not None:
                train(each, seed)
            for a, b in zip(each.weights, model.weights, strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)


def test_fit_leaves_what_is_not_trainable():
    model, _ = chain()
    layers = model.layers
    for layer in layers[:-1]:
        layer.trainable = False
    model.compile("sgd", "mse", jit_compile=False)
    before = [[v.numpy() for v in layer.variables] for layer in layers]
    inputs = normal(16, 5, 4)
    model.fit(inputs, inputs, batch_size=8, verbose=0)
    same = [
        [
            np.array_equal(variable.numpy(), value)
            for variable, value in zip(layer.variables, values, strict=True)
        ]
        for layer, values in zip(layers, before, strict=True)
    ]
    assert all(map(all, same[:-1]))
    assert not any(same[-1]), "nothing was trained"


def test_compiled_fit_repeats_bitwise_and_is_that_of_eager_execution():
    compiled, named = chain()
    eager, _ = chain()
    before = compiled.get_weights()
    usage = {maker: layer.usage().numpy() for maker, layer in named.items()}
    compiled.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
    eager.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    inputs = normal(16, 5, 4)
    found = []
    for model in (compiled, compiled, eager):
        model.set_weights(before)
        model.fit(inputs, inputs, batch_size=8, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for weight, first, second, expected in zip(
        compiled.weights, *found, strict=True
    ):
        np.testing.assert_array_equal(first, second, weight.path)
        np.testing.assert_allclose(
            first, expected, atol=1e-5, err_msg=weight.path
        )
    for maker, layer in named.items():
        assert np.all(layer.usage() != usage[maker]), "nothing was learnt"


@pytest.mark.parametrize("maker", MAKERS)
def test_code_ids_are_one_number_a_vector(maker):
    layer = MAKERS[maker](seed=1)
    mask = np.arange(5) < np.full((4, 1), 3)
    indices = np.asarray(layer.encode(normal(4, 5, 4), mask=mask))
    code_ids = layer.to_code_ids(indices)
    expected = indices
    if maker == "DVQ":
        expected = np.where(mask, indices @ [1, 6], -1)
    np.testing.assert_array_equal(code_ids, expected)
    assert np.all((np.asarray(code_ids) == -1) == ~mask)
    np.testing.assert_array_equal(layer.from_code_ids(code_ids), indices)


@pytest.mark.parametrize("maker", MAKERS)
def test_there_are_as_many_codes_as_it_says(maker):
    layer = MAKERS[maker](seed=1)
    number = layer.count_codes()
    assert number == NUM_CODES[maker]
    layer.build((None, 4))
    assert layer.count_codes() == number
    assert layer.vector_dim == 4
    indices = layer.from_code_ids(np.arange(number))
    vectors = np.asarray(layer.decode_from_indices(indices))
    assert vectors.shape == (number, 4)
    assert len(np.unique(vectors, axis=0)) == number
    with pytest.raises(ValueError, match="`indices` must lie in"):
        layer.decode_from_indices(layer.from_code_ids(np.array([number])))


@pytest.mark.parametrize("maker", MAKERS)
def test_width_of_vectors_is_not_known_before(maker):
    with pytest.raises(ValueError) as error:
        _ = MAKERS[maker](name="codes").vector_dim
    assert str(error.value) == (
        "A layer must be built before its codebook is used. "
        "Received: layer='codes'."
    )


def test_rejects_other_masked_outputs():
    for make in MAKERS.values():
        with pytest.raises(ValueError) as error:
            make(masked_outputs="ones")
        assert str(error.value) == (
            "`masked_outputs` must be one of ('zeros', 'inputs'). "
            "Received: masked_outputs='ones'."
        )

"""What every public layer owes its users."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import layers
from tests.conformance.catalog import CASES
from tests.conformance.catalog import Floats
from tests.conformance.catalog import Lengths
from tests.conformance.catalog import Mask


@pytest.fixture(params=sorted(CASES))
def case(request):
    case = CASES[request.param]
    reason = case.exceptions.get(request.function.__name__)
    if reason:
        pytest.skip(reason)
    return case


def assert_trees_close(actual, expected, **tolerances):
    # Leaf by leaf: a saved model returns lists where tuples were.
    for a, e in zip(
        keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(as_numpy(a), as_numpy(e), **tolerances)


def as_numpy(tensor):
    tensor = tf.convert_to_tensor(tensor)
    # NumPy's comparisons know neither bfloat16 nor float16 well.
    return np.asarray(
        tf.cast(tensor, "float64") if tensor.dtype.is_floating else tensor
    )


def weighted_sum(outputs):
    # Random factors: a plain sum would hide gradients that cancel, such as
    # those of a softmax.
    return sum(
        tf.reduce_sum(
            output
            * tf.cast(
                np.random.default_rng(1).normal(size=output.shape),
                output.dtype,
            )
        )
        for output in keras.tree.flatten(outputs)
        if output.dtype.is_floating
    )


def twin(case, layer, keep=(), **kwargs):
    """Another layer with the same weights, but for those that it keeps."""
    other = case.make(**kwargs)
    case.call(other, case.arrays())
    for own, variable in zip(other.weights, layer.weights, strict=True):
        if own.name not in keep:
            own.assign(variable.numpy())
    return other


def test_catalog_is_complete():
    made = {type(case.make()).__name__ for case in CASES.values()}
    # Beside layers there may be objects that hold options of theirs.
    public = {
        name
        for name in layers.__all__
        if issubclass(getattr(layers, name), keras.layers.Layer)
    }
    assert made == public


def test_catalog_excuses_only_tests_that_exist():
    for case in CASES.values():
        assert all(
            callable(globals().get(name)) and reason
            for name, reason in case.exceptions.items()
        )


def test_config_names_every_argument(case):
    layer = case.make()
    parameters = inspect.signature(type(layer)).parameters.values()
    arguments = {
        p.name
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    assert arguments <= set(layer.get_config())


def test_config_round_trip(case):
    layer = case.make()
    config = json.loads(json.dumps(layer.get_config()))
    assert type(layer).from_config(config).get_config() == layer.get_config()


def test_symbolic_shape_and_dtype_allow_eager_ones(case):
    symbolic = case.call(case.make(), case.symbols())
    eager = case.call(case.make(), case.arrays())
    keras.tree.assert_same_structure(symbolic, eager)
    for s, e in zip(
        keras.tree.flatten(symbolic), keras.tree.flatten(eager), strict=True
    ):
        assert tf.TensorShape(s.shape).is_compatible_with(e.shape)
        assert s.dtype == e.dtype


def test_symbolic_shape_of_known_sizes_is_the_eager_one(case):
    arrays = case.arrays()
    symbols = keras.tree.map_structure(
        lambda array: keras.KerasTensor(array.shape, dtype=str(array.dtype)),
        arrays,
    )
    symbolic = case.call(case.make(), symbols)
    eager = case.call(case.make(), arrays)
    for s, e in zip(
        keras.tree.flatten(symbolic), keras.tree.flatten(eager), strict=True
    ):
        assert tuple(s.shape) == tuple(e.shape)


def test_saved_file_predicts_the_same(case, tmp_path):
    model = case.model()
    expected = model(case.arrays())
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_trees_close(revived(case.arrays()), expected, atol=0)


def test_saved_weights_predict_the_same(case, tmp_path):
    model = case.model()
    model.save_weights(tmp_path / "model.weights.h5")
    other = case.model()
    other.load_weights(tmp_path / "model.weights.h5")
    assert_trees_close(other(case.arrays()), model(case.arrays()), atol=0)


def test_export_serves_the_same(case, tmp_path):
    model = case.model()
    model.export(tmp_path, verbose=False)
    artifact = tf.saved_model.load(tmp_path)
    # Other sizes than the layer was ever called with.
    for batch_size, open_size in [(1, 3), (2, 5)]:
        arrays = case.arrays(batch_size, open_size)
        served = artifact.serve(arrays)
        assert_trees_close(served, model(arrays), atol=1e-5)


def test_eager_graph_and_compiled_agree(case):
    layer = case.make()
    eager = case.call(layer, case.arrays())
    for jit_compile in (False, True):
        function = tf.function(
            lambda arrays: case.call(layer, arrays), jit_compile=jit_compile
        )
        assert_trees_close(function(case.arrays()), eager, atol=1e-5)


def test_compiled_function_lowers_for_gpu(case):
    layer = case.make()
    arrays = case.arrays()
    case.call(layer, arrays)
    trainable, fixed = layer.trainable_variables, layer.non_trainable_variables
    # The compiler takes a flat list, and variables only as arguments.
    structure = [
        [v.value for v in trainable],
        [v.value for v in fixed],
        arrays,
    ]
    first, *rest = case.inputs

    def function(*flat):
        trainable, fixed, arrays = keras.tree.pack_sequence_as(structure, flat)
        outputs, _ = layer.stateless_call(
            trainable,
            fixed,
            arrays[first],
            **{name: arrays[name] for name in rest},
            **case.constants,
        )
        return outputs

    specs = [
        tf.TensorSpec(leaf.shape, leaf.dtype)
        for leaf in keras.tree.flatten(structure)
    ]
    lowered = tf.function(
        function, jit_compile=True
    ).experimental_get_compiler_ir(*specs)(
        stage="stablehlo_serialized", platform_name="GPU"
    )
    assert len(lowered) > 0


def test_every_trainable_weight_gets_a_finite_gradient(case):
    layer = case.make()
    case.call(layer, case.arrays())
    with tf.GradientTape() as tape:
        loss = weighted_sum(case.call(layer, case.arrays(), training=True))
    if not layer.trainable_weights:
        pytest.skip("nothing to differentiate")
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    for weight, gradient in zip(
        layer.trainable_weights, gradients, strict=True
    ):
        assert gradient is not None, weight.path
        assert not isinstance(gradient, tf.IndexedSlices), weight.path
        assert np.all(np.isfinite(gradient)), weight.path
        assert np.any(gradient), weight.path


def test_compiled_gradients_equal_eager_ones(case):
    layer = case.make()
    arrays = case.arrays()
    case.call(layer, arrays)
    if not layer.trainable_weights:
        pytest.skip("nothing to differentiate")

    def gradients(arrays):
        with tf.GradientTape() as tape:
            loss = weighted_sum(case.call(layer, arrays, training=True))
        return tape.gradient(loss, [w.value for w in layer.trainable_weights])

    compiled = tf.function(gradients, jit_compile=True)(arrays)
    assert_trees_close(compiled, gradients(arrays), rtol=1e-4, atol=1e-5)


def test_other_values_do_not_trace_again(case):
    layer = case.make()
    traces = []

    @tf.function
    def function(arrays):
        traces.append(1)
        return case.call(layer, arrays)

    arrays = keras.tree.map_structure(tf.constant, case.arrays())
    case.call(layer, arrays)  # Variables are made here, not in the function.
    function(arrays)
    function(keras.tree.map_structure(tf.zeros_like, arrays))
    assert len(traces) == 1


def test_gradients_equal_central_differences(case):
    layer = case.make(dtype="float64")
    arrays = case.arrays(dtype="float64")
    case.call(layer, arrays)
    first = next(iter(case.inputs))
    points = {w.path: w.value for w in layer.trainable_weights}
    if isinstance(case.inputs[first], Floats):
        points[first] = tf.Variable(arrays[first])
        arrays[first] = points[first]
    with tf.GradientTape() as tape:
        loss = weighted_sum(case.call(layer, arrays))
    if not points or not tf.is_tensor(loss):
        pytest.skip("nothing to differentiate")
    gradients = tape.gradient(loss, points)
    epsilon = 1e-6
    for name, point in points.items():
        # One random direction tests all entries of a gradient at once.
        direction = tf.random.stateless_normal(
            point.shape, seed=(3, 4), dtype="float64"
        )
        values = []
        for sign in (1, -1):
            point.assign_add(sign * epsilon * direction)
            values.append(weighted_sum(case.call(layer, arrays)))
            point.assign_sub(sign * epsilon * direction)
        difference = (values[0] - values[1]) / (2 * epsilon)
        np.testing.assert_allclose(
            tf.reduce_sum(gradients[name] * direction),
            difference,
            rtol=1e-6,
            atol=1e-6,
            err_msg=name,
        )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(case, policy):
    layer = case.make(dtype=policy)
    case.call(layer, case.arrays())
    with tf.GradientTape() as tape:
        outputs = case.call(layer, case.arrays(), training=True)
        loss = tf.cast(weighted_sum(outputs), "float32")
    for output in keras.tree.flatten(outputs):
        if output.dtype.is_floating:
            assert output.dtype == layer.compute_dtype
    weights = layer.trainable_weights
    gradients = tape.gradient(loss, [w.value for w in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        assert weight.dtype == gradient.dtype == "float32", weight.path
        assert np.all(np.isfinite(gradient)), weight.path


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [("float64", 1e-5), ("mixed_float16", 0.02), ("mixed_bfloat16", 0.15)],
)
def test_precisions_agree(case, policy, tolerance):
    layer = case.make()
    expected = case.call(layer, case.arrays())
    actual = case.call(twin(case, layer, dtype=policy), case.arrays())
    assert_trees_close(actual, expected, atol=tolerance)


@pytest.mark.parametrize(("batch_size", "open_size"), [(1, 1), (1, 6), (3, 2)])
def test_any_batch_and_length(case, batch_size, open_size):
    model = case.model()
    arrays = case.arrays(batch_size, open_size)
    first, *rest = keras.tree.flatten(model(arrays))
    if case.length_axis is not None:
        assert first.shape[case.length_axis] == open_size
    assert all(output.shape[0] == batch_size for output in (first, *rest))


def test_padding_does_not_matter(case):
    if case.length_axis is None:
        pytest.skip("it knows no sequences")
    layer = case.make()
    lengths = [case.open_size, case.open_size - 3, 1]
    padded = case.arrays(batch_size=3)
    for name, kind in case.inputs.items():
        if isinstance(kind, Mask):
            padded[name] = np.arange(case.open_size) < np.c_[lengths]
        elif isinstance(kind, Lengths):
            padded[name] = np.array(lengths, "int32")
    together = case.call(layer, padded)
    for row, length in enumerate(lengths):
        alone = {
            name: array[row : row + 1]
            if len(kind.shape) == 1
            else array[row : row + 1, :length]
            for (name, kind), array in zip(
                case.inputs.items(), padded.values(), strict=True
            )
        }
        assert_trees_close(
            keras.tree.map_structure(
                lambda output: output[row : row + 1, :length], together
            ),
            case.call(layer, alone),
            atol=1e-5,
        )


def test_inference_is_deterministic_and_changes_nothing(case):
    layer = case.make(**case.dropout)
    first = case.call(layer, case.arrays())
    before = [v.numpy() for v in layer.variables]
    assert_trees_close(case.call(layer, case.arrays()), first, atol=0)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)


def test_seed_repeats_training(case):
    if not case.dropout:
        pytest.skip("nothing is random")
    layer = case.make(**case.dropout, seed=3)
    case.call(layer, case.arrays())
    # Some have a seed among their weights, so that it is saved.
    same, other = (
        twin(case, layer, ("draw_seed",), **case.dropout, seed=seed)
        for seed in (3, 4)
    )
    first, again, different = (
        case.call(each, case.arrays(), training=True)
        for each in (layer, same, other)
    )
    assert_trees_close(again, first, atol=0)
    assert not np.array_equal(different, first)
    second = case.call(layer, case.arrays(), training=True)
    assert not np.array_equal(second, first), "the same noise twice"


def test_replicas_agree_with_one_device(case, strategy):
    arrays = case.arrays(batch_size=4)
    layer = case.make()
    case.call(layer, arrays)
    factors = tf.random.stateless_normal((4,), seed=(5, 6))

    def loss_of(layer, arrays, factors):
        outputs = keras.tree.flatten(case.call(layer, arrays, training=True))
        rows = [
            tf.reshape(tf.cast(output, "float32"), (len(factors), -1))
            for output in outputs
        ]
        return tf.reduce_sum(tf.concat(rows, axis=1) * factors[:, None])

    with strategy.scope():
        copy = twin(case, layer)
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(copy.trainable_variables)

    def step(arrays, factors):
        with tf.GradientTape() as tape:
            loss = loss_of(copy, arrays, factors)
        if copy.trainable_variables:
            weights = [v.value for v in copy.trainable_variables]
            gradients = tape.gradient(loss, weights)
            # Else a loss may see weights that its own step has updated, once
            # in some hundred steps: two devices that are one CPU and this
            # reduction race, in a model of two `keras.layers.Dense`, too.
            with tf.control_dependencies([loss]):
                gradients = [tf.identity(gradient) for gradient in gradients]
            # Keras sums over the replicas what it is told to apply.
            optimizer.apply(gradients, copy.trainable_variables)
        return loss

    flat = [*keras.tree.flatten(arrays), factors]

    def half(context):
        rows = slice(
            2 * context.replica_id_in_sync_group,
            2 * context.replica_id_in_sync_group + 2,
        )
        return [array[rows] for array in flat]

    @tf.function
    def distributed(values):
        def run(*values):
            named = keras.tree.pack_sequence_as(arrays, values[:-1])
            return step(named, values[-1])

        return strategy.run(run, args=values)

    values = [
        strategy.experimental_distribute_values_from_function(
            lambda context, place=place: tf.convert_to_tensor(
                half(context)[place]
            )
        )
        for place in range(len(flat))
    ]
    losses = strategy.experimental_local_results(distributed(tuple(values)))
    with tf.GradientTape() as tape:
        loss = loss_of(layer, arrays, factors)
    np.testing.assert_allclose(sum(losses), loss, rtol=1e-4, atol=1e-4)
    if layer.trainable_variables:
        gradients = tape.gradient(
            loss, [v.value for v in layer.trainable_variables]
        )
        keras.optimizers.SGD(0.1).apply(gradients, layer.trainable_variables)
    for actual, expected in zip(copy.variables, layer.variables, strict=True):
        if "seed_generator" in actual.path:
            continue
        np.testing.assert_allclose(
            actual.numpy(), expected.numpy(), atol=1e-4, err_msg=actual.path
        )
        replicas = strategy.experimental_local_results(actual.value)
        for replica in replicas[1:]:
            np.testing.assert_array_equal(replica, replicas[0])


def test_wrong_arguments_are_named(case):
    for name, value in case.bad_arguments.items():
        with pytest.raises(ValueError) as error:
            case.make(**{name: value})
        assert str(error.value).startswith(f"`{name}` must ")
        assert f"{name}={value!r}" in str(error.value)


def test_wrong_shapes_are_named(case):
    first = next(iter(case.inputs))
    built = case.make()
    case.call(built, case.arrays())
    before = [v.numpy() for v in built.variables]
    for shape in case.bad_shapes:
        arrays = case.arrays()
        arrays[first] = np.zeros(shape, "float32")
        with pytest.raises(ValueError) as error:
            case.call(built, arrays)
        assert f"`{first}` must " in str(error.value)
        assert f"shape={shape}" in str(error.value) or (
            "length=" in str(error.value)
        )
    for variable, value in zip(built.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)

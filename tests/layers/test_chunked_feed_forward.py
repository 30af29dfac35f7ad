"""Tests of keras_xf.layers.ChunkedFeedForward.

What every layer owes is tested in tests/conformance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import ChunkedFeedForward
from keras_xf.layers import FeedForward
from keras_xf.layers import Residual

DIM, INTERMEDIATE_DIM = 8, 12


def make_pair(chunk_length, **options):
    """A layer, and a `FeedForward` with its weights."""
    layer = ChunkedFeedForward(
        INTERMEDIATE_DIM, chunk_length=chunk_length, **options
    )
    plain = FeedForward(INTERMEDIATE_DIM, **options)
    for each in (layer, plain):
        each.build((None, None, DIM))
    for variable in layer.trainable_variables:
        variable.assign(draw(*variable.shape))
    for mine, other in zip(
        plain.trainable_variables, layer.trainable_variables, strict=True
    ):
        mine.assign(other)
    return layer, plain


def draw(*shape, dtype="float32"):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def differentiate(layer, inputs, upstream):
    inputs = tf.convert_to_tensor(inputs)
    weights = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    return outputs, *tape.gradient(outputs, [inputs, *weights], upstream)


@pytest.mark.parametrize("shape", [(3, 7, DIM), (5, DIM), (2, 2, 5, DIM)])
@pytest.mark.parametrize("chunk_length", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "gelu", "use_bias": False, "dtype": "float64"},
    ],
)
def test_it_equals_feed_forward(shape, chunk_length, options):
    layer, plain = make_pair(chunk_length, **options)
    dtype = options.get("dtype", "float32")
    inputs, upstream = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype) ** 2
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for actual, expected in zip(
        differentiate(layer, inputs, upstream),
        differentiate(plain, inputs, upstream),
        strict=True,
    ):
        np.testing.assert_allclose(
            actual, expected, rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)]
)
def test_it_equals_feed_forward_in_half_precision(policy, tolerance):
    layer, plain = make_pair(2, dtype=policy)
    inputs = draw(3, 7, DIM)
    upstream = tf.cast(draw(3, 7, DIM) ** 2, layer.compute_dtype)
    for actual, expected in zip(
        differentiate(layer, inputs, upstream),
        differentiate(plain, inputs, upstream),
        strict=True,
    ):
        assert actual.dtype == expected.dtype
        expected = tf.cast(expected, "float32").numpy()
        np.testing.assert_allclose(
            tf.cast(actual, "float32"),
            expected,
            atol=tolerance * np.abs(expected).max(),
        )


def test_gradients_are_added_up_in_the_precision_of_the_weights():
    layer = ChunkedFeedForward(4, chunk_length=1, dtype="mixed_bfloat16")
    layer.build((None, None, DIM))
    *_, gradient = differentiate(
        layer, draw(1, 300, DIM), tf.ones((1, 300, DIM), "bfloat16")
    )
    # A sum of ones in bfloat16 does not get past 256.
    np.testing.assert_array_equal(gradient, np.full(DIM, 300, "float32"))


def test_a_wrapper_takes_the_weights_of_either(tmp_path):
    layer, plain = make_pair(2)
    paths = [variable.path for variable in layer.trainable_variables]
    assert [path.split("/", 1)[1] for path in paths] == [
        variable.path.split("/", 1)[1] for variable in plain.trainable_variables
    ]
    chunked, other = (
        keras.Sequential([keras.Input((None, DIM)), Residual(inner)])
        for inner in (layer, FeedForward(INTERMEDIATE_DIM))
    )
    chunked.save_weights(tmp_path / "chunked.weights.h5")
    other.load_weights(tmp_path / "chunked.weights.h5")
    inputs = draw(2, 5, DIM)
    np.testing.assert_allclose(other(inputs), chunked(inputs), atol=1e-5)


def test_their_initial_weights_are_the_same():
    options = {"kernel_initializer": {"class_name": "GlorotUniform"}}
    options["kernel_initializer"]["config"] = {"seed": 3}
    layers = [ChunkedFeedForward(20, **options), FeedForward(20, **options)]
    for layer in layers:
        layer.build((None, None, DIM))
    first, second = (layer.get_weights()[:4] for layer in layers)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_moves_the_seed_once_a_call():
    layer = ChunkedFeedForward(400, chunk_length=2, dropout=0.25, seed=1)
    inputs = draw(2, 7, DIM)
    layer(inputs)
    state = layer.seed_generator.state
    before = state.numpy()
    layer(inputs, training=True)
    once = state.numpy()
    layer(inputs)
    np.testing.assert_array_equal(state.numpy(), once)
    keras_generator = keras.random.SeedGenerator(1)
    keras_generator.next()
    np.testing.assert_array_equal(once, keras_generator.state.numpy())
    assert not np.array_equal(before, once)


def test_dropout_drops_and_scales_what_lies_between():
    layer = ChunkedFeedForward(
        2**14, "linear", chunk_length=2, dropout=0.5, seed=1, use_bias=False
    )
    layer.build((None, None, 2))
    widen = np.zeros((2, 2**14), "float32")
    widen[0] = 1.0
    # The first output adds up all intermediate values, the second one some.
    narrow = np.zeros((2**14, 2), "float32")
    narrow[:, 0] = narrow[:400, 1] = 2.0**-14
    layer.widen.kernel.assign(widen)
    layer.narrow.kernel.assign(narrow)
    outputs = layer(np.ones((3, 5, 2), "float32"), training=True).numpy()
    assert np.all(np.abs(outputs[..., 0] - 1) < 0.05)
    assert len(np.unique(outputs[..., 1])) > 7, "chunks drop the same"
    # Scaled numbers of what was kept: multiples of a power of two, whose sums
    # are exact in whichever order a processor adds them.
    kept = outputs[..., 0] * 2**13
    np.testing.assert_array_equal(kept, np.round(kept))
    np.testing.assert_allclose(
        layer(np.ones((3, 5, 2), "float32"))[..., 0], 1, rtol=1e-5
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_see_the_same_dropout_as_values(jit_compile):
    layer = ChunkedFeedForward(
        6, chunk_length=2, dropout=0.5, seed=1, dtype="float64"
    )
    inputs = tf.constant(draw(2, 5, DIM, dtype="float64"))
    layer(inputs)
    trainable = [v.value for v in layer.trainable_variables]
    seeds = [v.value for v in layer.non_trainable_variables]

    @tf.function(jit_compile=jit_compile)
    def function(inputs):
        # The seed that the layer has at first, each time.
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, _ = layer.stateless_call(
                trainable, seeds, inputs, training=True
            )
            loss = tf.reduce_sum(outputs**2)
        return loss, tape.gradient(loss, inputs)

    direction = draw(1, 2, 5, DIM, dtype="float64")[0]
    _, gradient = function(inputs)
    (up, _), (down, _) = (
        function(inputs + sign * 1e-6 * direction) for sign in (1, -1)
    )
    np.testing.assert_allclose(
        np.sum(gradient * direction), (up - down) / 2e-6, rtol=1e-6
    )


def test_frozen_weights_are_used():
    layer, plain = make_pair(2)
    layer.trainable = False
    inputs = draw(2, 5, DIM)
    np.testing.assert_allclose(layer(inputs), plain(inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"intermediate_dim": 0},
            "`intermediate_dim` must be positive. "
            "Received: intermediate_dim=0.",
        ),
        (
            {"intermediate_dim": 4, "chunk_length": 0},
            "`chunk_length` must be positive. Received: chunk_length=0.",
        ),
        (
            {"intermediate_dim": 4, "dropout": -0.5},
            "`dropout` must lie in [0, 1). Received: dropout=-0.5.",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        ChunkedFeedForward(**arguments)
    assert str(error.value) == message

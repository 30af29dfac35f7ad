"""What no bottleneck learns from, or is built by, and what it refuses."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_xf import layers

MAKERS = {
    "VQ": lambda: layers.VQ(4),
    "VQEMA": lambda: layers.VQEMA(4),
    "DVQ": lambda: layers.DVQ(2),
    "GumbelSoftmax": lambda: layers.GumbelSoftmax(4, divergence=0.1),
    "SemanticHashing": lambda: layers.SemanticHashing(2),
}
VECTORS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
NO_NUMBER = np.where(np.arange(4) == 2, np.nan, VECTORS).astype("float32")
UNUSABLE = {
    "empty": (VECTORS[:0], np.ones((0, 5), "bool")),
    "masked": (VECTORS, np.zeros((3, 5), "bool")),
    "not finite": (NO_NUMBER, np.ones((3, 5), "bool")),
}


@pytest.fixture(params=MAKERS)
def layer(request):
    return MAKERS[request.param]()


@pytest.mark.parametrize("batch", UNUSABLE)
def test_nothing_changes(layer, batch):
    layer.build((None, 5, 4))
    step = tf.function(
        lambda inputs, mask: layer(inputs, mask=mask, training=True),
        input_signature=[
            tf.TensorSpec((None, 5, 4)),
            tf.TensorSpec((None, 5), tf.bool),
        ],
    )
    step(VECTORS, np.ones((3, 5), "bool"))
    # Metrics are among them.
    before = [variable.numpy() for variable in layer.variables]
    step(*UNUSABLE[batch])
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_evaluations_count_nothing_either(layer):
    layer.build((None, 5, 4))
    layer._usage_metric.counts_in_evaluation = True
    before = [variable.numpy() for variable in layer.variables]
    tf.function(layer)(NO_NUMBER)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_what_is_refused_builds_nothing(layer):
    calls = [layer.encode, layers.CodeEncoder(layer).layer.encode]
    if hasattr(layer, "adapt"):
        calls.append(layer.adapt)
    for call in calls:
        with pytest.raises(ValueError, match="`inputs` must be finite"):
            call(NO_NUMBER)
        with pytest.raises(ValueError, match="`mask` must have the shape"):
            call(VECTORS, mask=np.ones((3, 4), "bool"))
        assert not layer.built


@pytest.mark.parametrize(
    ("maker", "arguments"),
    [
        (layers.GumbelSoftmax, {"temperature": math.inf}),
        (layers.GumbelSoftmax, {"min_temperature": math.inf}),
        (layers.GumbelSoftmax, {"divergence": math.inf}),
        (layers.SemanticHashing, {"noise_stddev": math.inf}),
        (layers.VQEMA, {"epsilon": math.inf}),
        (layers.VQEMA, {"decay": math.nan}),
        (layers.VQ, {"commitment": math.inf}),
    ],
)
def test_options_are_finite(maker, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError) as error:
        maker(4, **arguments)
    assert str(error.value) == (
        f"`{name}` must be finite. Received: {name}={value}."
    )


@pytest.mark.parametrize("value", ["0.5", [1], True, None])
@pytest.mark.parametrize(
    ("maker", "name", "kind"),
    [
        (layers.VQ, "commitment", "a number"),
        (layers.VQEMA, "decay", "a number"),
        (layers.DVQ, "epsilon", "a number"),
        (layers.GumbelSoftmax, "temperature", "a number or a schedule"),
        (layers.GumbelSoftmax, "min_temperature", "a number"),
        (layers.GumbelSoftmax, "divergence", "a number"),
        (layers.SemanticHashing, "noise_stddev", "a number"),
        (layers.SemanticHashing, "hard_fraction", "a number or a schedule"),
    ],
)
def test_options_are_numbers(maker, name, kind, value):
    with pytest.raises(ValueError) as error:
        maker(4, **{name: value})
    assert str(error.value) == (
        f"`{name}` must be {kind}. Received: {name}={value!r}."
    )


def test_configs_hold_plain_numbers():
    layer = layers.VQEMA(4, commitment=1, decay=np.float32(0.5))
    config = layer.get_config()
    assert (config["commitment"], config["decay"]) == (1, 0.5)
    assert type(config["commitment"]) is int
    assert type(config["decay"]) is float


def test_packed_numbers_are_checked():
    parts, bits = layers.DVQ(4, num_parts=3), layers.SemanticHashing(3)
    for call in (
        lambda: parts.pack_indices([[0, 1, 2, 3]]),
        lambda: parts.pack_indices([[0, 1, 4]]),
        lambda: parts.pack_indices([[0.0, 1.0, 2.0]]),
        lambda: parts.unpack_indices([64]),
        lambda: bits.pack_indices([[0, 1]]),
        lambda: bits.pack_indices([[0, 1, 2]]),
        lambda: bits.unpack_indices([8]),
        lambda: bits.unpack_indices([-2]),
    ):
        with pytest.raises(ValueError, match="Received"):
            call()


@pytest.mark.parametrize("wrong", [64, 80, 1000])
def test_graphs_find_no_code_for_a_number_out_of_range(wrong):
    layer = layers.DVQ(4, num_parts=3)
    layer.build((None, 6))
    decoder = tf.function(
        layers.CodeDecoder(layer),
        input_signature=[tf.TensorSpec([None], tf.int32)],
    )
    decoder([63])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoder([wrong])
    decode = tf.function(
        layer.decode_from_indices,
        input_signature=[tf.TensorSpec([None, 3], tf.int32)],
    )
    # It would be a code of the next part.
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode([[5, 0, 0]])


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_graphs_find_no_code_for_an_index_out_of_range(maker, dtype):
    layer = MAKERS[maker]()
    layer.build((None, 4))
    good = np.asarray(layer.encode(VECTORS[0, :1]))
    decode = tf.function(
        layer.decode_from_indices,
        input_signature=[tf.TensorSpec([None, *good.shape[1:]], dtype)],
    )
    np.testing.assert_array_equal(
        decode(good.astype(dtype)), layer.decode_from_indices(good)
    )
    wrong = [4, 5, 6, 64, 2**31 - 1]
    if dtype != "int32":
        wrong.append(2**31 + 1)
    if dtype in ("int64", "uint64"):
        # Of 32 bits it would be 1.
        wrong += [2**32 + 1, 2**62]
    for index in wrong:
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(np.full(good.shape, index, dtype))


@pytest.mark.parametrize("maker", MAKERS)
def test_graphs_find_no_code_for_a_long_negative_index(maker):
    layer = MAKERS[maker]()
    layer.build((None, 4))
    good = np.asarray(layer.encode(VECTORS[0, :1]))
    # Of 32 bits it would be 1.
    indices = np.full(good.shape, 1 - 2**32)
    np.testing.assert_array_equal(
        tf.function(layer.decode_from_indices)(tf.constant(indices)),
        np.zeros((1, 4)),
    )


@pytest.mark.parametrize("wrong", [2**31, 2**32 + 1, -(2**32)])
def test_graphs_find_no_code_for_an_index_beyond_all_bits(wrong):
    layer = layers.SemanticHashing(31)
    layer.build((None, 4))
    # No int32 is out of range: it is read as masked.
    outputs = tf.function(layer.decode_from_indices)(tf.constant([wrong]))
    np.testing.assert_array_equal(outputs, np.zeros((1, 4)))


def test_what_else_is_drawn_does_not_shift_adapt():
    codebooks = []
    for options in (
        {},
        {"restart": layers.Restart(fraction=0.1)},
        {"first_batch": "data"},
        {"samples": 2},
    ):
        layer = layers.VQEMA(4, seed=1, **options)
        layer.adapt(VECTORS, iterations=1)
        codebooks.append(layer.codebook)
    for codebook in codebooks[1:]:
        np.testing.assert_array_equal(codebook, codebooks[0])
    layer.adapt(VECTORS, iterations=1)
    assert np.any(layer.codebook != codebooks[0])


def test_first_counts_are_those_of_a_step():
    layer = layers.VQEMA(
        2, first_batch="data", accumulation_steps=3, decay=0.5, seed=1
    )
    for _ in range(3):
        layer(VECTORS, training=True)
    np.testing.assert_allclose(np.sum(layer.counts), 3 * 15)


def test_gumbel_softmax_begins_with_a_codebook_again():
    layer = layers.GumbelSoftmax(4)
    layer(VECTORS, training=True)
    layer.set_codebook(np.ones((4, 4)))
    assert int(layer.steps) == 0


@pytest.mark.parametrize("maker", MAKERS)
def test_codes_keep_the_policy_of_their_bottleneck(maker):
    layer = MAKERS[maker]()
    layer.build((None, 4))
    for wrapper in (layers.CodeEncoder(layer), layers.CodeDecoder(layer)):
        assert wrapper.dtype_policy == layer.dtype_policy
        config = type(wrapper).from_config(wrapper.get_config())
        assert config.dtype_policy == layer.dtype_policy

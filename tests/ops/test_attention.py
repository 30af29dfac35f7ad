"""Tests of keras_xf.ops.attention."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import layers
from keras_xf.ops import attention
from keras_xf.ops import blockwise_attention
from tests.oracles import attention as oracle

BATCH, HEADS, TARGET, SOURCE = 2, 3, 4, 6
PADDING_MASK = np.arange(SOURCE) < np.array([[6], [3]])
ATTENTION_MASK = np.random.default_rng(1).random((BATCH, TARGET, SOURCE)) < 0.6
POSITIONS = np.array([[2, 3, 4, 5], [0, 1, 2, 3]])


@pytest.fixture
def tensors():
    generator = np.random.default_rng(0)

    def draw(length, dim):
        return generator.normal(size=(BATCH, HEADS, length, dim))

    return draw(TARGET, 8), draw(SOURCE, 8), draw(SOURCE, 5)


@pytest.mark.parametrize(
    ("masks", "visible"),
    [
        ({}, lambda row, target, source: True),
        ({"causal": True}, lambda row, target, source: source <= target),
        (
            {"padding_mask": PADDING_MASK},
            lambda row, target, source: PADDING_MASK[row, source],
        ),
        (
            {"attention_mask": ATTENTION_MASK},
            lambda row, target, source: ATTENTION_MASK[row, target, source],
        ),
        (
            {"causal": True, "query_positions": POSITIONS},
            lambda row, target, source: source <= POSITIONS[row, target],
        ),
        (
            {"causal": True, "query_positions": POSITIONS[0]},
            lambda row, target, source: source <= POSITIONS[0, target],
        ),
        (
            {
                "causal": True,
                "padding_mask": PADDING_MASK,
                "attention_mask": ATTENTION_MASK,
            },
            lambda row, target, source: (
                source <= target
                and PADDING_MASK[row, source]
                and ATTENTION_MASK[row, target, source]
            ),
        ),
    ],
)
def test_attend_matches_the_oracle(tensors, masks, visible):
    np.testing.assert_allclose(
        attention.attend(*tensors, **masks),
        oracle.attend(*tensors, visible),
        atol=1e-12,
    )


def test_a_query_that_sees_nothing_gives_zeros_and_finite_gradients(tensors):
    query, key, value = (tf.constant(x, "float32") for x in tensors)
    mask = np.ones((BATCH, TARGET, SOURCE), bool)
    mask[0, 1] = False
    with tf.GradientTape() as tape:
        tape.watch([query, key, value])
        outputs = attention.attend(query, key, value, attention_mask=mask)
    np.testing.assert_array_equal(outputs[0, :, 1], 0)
    assert np.all(outputs[0, :, 0] != 0)
    for gradient in tape.gradient(outputs, [query, key, value]):
        assert np.all(np.isfinite(gradient))


def test_a_single_key_is_taken_whole_without_a_warning(tensors):
    query, key, value = tensors
    outputs = attention.attend(query, key[:, :, :1], value[:, :, :1])
    np.testing.assert_allclose(
        outputs, np.repeat(value[:, :, :1], TARGET, axis=2)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_many_keys_exactly_enough(dtype):
    # 4096 equal keys: half-precision sums of their exponentials would stop
    # growing at 2048 (float16) or at 256 (bfloat16).
    length = 4096
    query = tf.zeros((1, 1, 1, 2), dtype)
    key = tf.zeros((1, 1, length, 2), dtype)
    weights = attention.attention_weights(query, key)
    assert weights.dtype == "float32"
    np.testing.assert_allclose(weights, 1 / length, rtol=1e-6)


def test_large_logits_stay_finite(tensors):
    query, key, value = (tf.constant(x, "float16") for x in tensors)
    outputs = attention.attend(100 * query, 100 * key, value, causal=True)
    assert outputs.dtype == "float16"
    assert np.all(np.isfinite(outputs))


def test_dropout_drops_the_stated_fraction_and_keeps_the_mean():
    shape = (8, 4, 32, 64)
    generator = np.random.default_rng(0)
    query, key = (generator.normal(size=(8, 4, n, 4)) for n in (32, 64))
    ones = np.ones((*shape[:2], 64, 64)) * np.eye(64)
    plain = attention.attend(query, key, ones)
    dropped = attention.attend(query, key, ones, dropout=0.25, seed=7)
    zeros = np.mean(np.asarray(dropped) == 0)
    # 65536 draws: three standard deviations are 0.005.
    assert abs(zeros - 0.25) < 0.006
    kept = np.asarray(dropped) != 0
    np.testing.assert_allclose(
        np.asarray(dropped)[kept], np.asarray(plain)[kept] / 0.75
    )
    np.testing.assert_array_equal(
        attention.attend(query, key, ones, dropout=0.25, seed=7), dropped
    )


def test_dropout_takes_the_next_seed_of_a_generator(tensors):
    generator = keras.random.SeedGenerator(3)
    for blockwise in (False, True):
        first, second = (
            attention.attend(
                *tensors, dropout=0.5, seed=generator, blockwise=blockwise
            )
            for _ in range(2)
        )
        assert np.any(first != second)


def test_any_integer_is_a_seed(tensors):
    outputs = [
        attention.attend(*tensors, dropout=0.5, seed=seed).numpy()
        for seed in (-1, 0, 1, 2**31, 2**40)
    ]
    assert len(np.unique(np.stack(outputs), axis=0)) == len(outputs)


def test_dropout_without_a_seed_is_refused(tensors):
    with pytest.raises(ValueError) as error:
        attention.attend(*tensors, dropout=0.5)
    assert str(error.value) == (
        "`seed` must be given if there is `dropout`. Received: dropout=0.5, "
        "seed=None."
    )


@pytest.fixture
def telling_forms(monkeypatch):
    """Both forms return their number; it must be known where they stand."""

    def tell(number):
        def form(query, key, value, **arguments):
            return tf.zeros_like(query) + number

        return form

    monkeypatch.setattr(attention, "_attend_plainly", tell(0))
    monkeypatch.setattr(blockwise_attention, "attend", tell(1))


CHOICES = [
    (1024, 1024, 1),
    (1023, 1024, 0),
    (512, 2048, 1),
    (2048, 511, 0),
    (1, 2**20, 0),
    # Their product is beyond an int32.
    (2**16, 2**16, 1),
]


@pytest.mark.parametrize(("target", "source", "chosen"), CHOICES)
def test_blocks_are_taken_from_a_length_on(
    target, source, chosen, telling_forms
):
    query, key = (tf.zeros((1, 1, n, 1)) for n in (target, source))
    assert np.all(attention.attend(query, key, key) == chosen)
    for blockwise in (False, True):
        outputs = attention.attend(query, key, key, blockwise=blockwise)
        assert np.all(outputs == blockwise)


def test_a_bias_is_added_to_scaled_logits(tensors):
    query, key, value = tensors
    bias = np.random.default_rng(2).normal(size=(BATCH, HEADS, TARGET, SOURCE))
    outputs = attention.attend(
        query, key, value, logit_bias=bias, padding_mask=PADDING_MASK
    )
    logits = query @ np.swapaxes(key, -1, -2) / np.sqrt(8) + bias
    powers = np.exp(logits) * PADDING_MASK[:, None, None]
    weights = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(outputs, weights @ value, atol=1e-12)


def test_a_bias_does_not_unmask(tensors):
    bias = np.zeros((BATCH, HEADS, TARGET, SOURCE))
    masks = {"causal": True, "padding_mask": PADDING_MASK}
    expected = attention.attend(*tensors, **masks)
    visible = attention.combine_masks(
        target_length=TARGET, source_length=SOURCE, **masks
    )
    for hidden in (1e9, -1e9):
        outputs = attention.attend(
            *tensors, logit_bias=np.where(visible, bias, hidden), **masks
        )
        np.testing.assert_allclose(outputs, expected, atol=1e-12)


def test_a_bias_keeps_half_precision(tensors):
    query, key, value = (tf.constant(x, "float16") for x in tensors)
    bias = tf.ones((BATCH, HEADS, TARGET, SOURCE), "float32")
    outputs = attention.attend(query, key, value, logit_bias=bias)
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(
        outputs, attention.attend(query, key, value), atol=5e-3
    )


def test_a_bias_has_a_gradient(tensors):
    bias = tf.Variable(
        np.random.default_rng(2).normal(size=(BATCH, HEADS, TARGET, SOURCE))
    )
    direction = np.random.default_rng(3).normal(size=bias.shape)

    def loss():
        outputs = attention.attend(*tensors, logit_bias=bias, causal=True)
        return tf.reduce_sum(outputs**2)

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, bias)
    values = []
    for step in (1e-6, -1e-6):
        bias.assign_add(step * direction)
        values.append(loss())
        bias.assign_sub(step * direction)
    np.testing.assert_allclose(
        tf.reduce_sum(gradient * direction),
        (values[0] - values[1]) / 2e-6,
        rtol=1e-6,
    )


def test_with_a_bias_there_is_the_plain_form_alone(telling_forms):
    bias = np.zeros((1, 1, 1024, 1024), "float32")
    query = tf.zeros((1, 1, 1024, 1))
    assert np.all(attention.attend(query, query, query, logit_bias=bias) == 0)
    with pytest.raises(ValueError) as error:
        attention.attend(query, query, query, logit_bias=bias, blockwise=True)
    assert str(error.value) == (
        "`blockwise` must not be asked for beside a `logit_bias`. "
        "Received: blockwise=True."
    )


def test_unknown_lengths_choose_when_they_are_known(telling_forms):
    spec = tf.TensorSpec([1, 1, None, 1])

    @tf.function(input_signature=[spec, spec])
    def function(query, key):
        return attention.attend(query, key, key)

    for target, source, chosen in CHOICES:
        outputs = function(
            tf.zeros((1, 1, target, 1)), tf.zeros((1, 1, source, 1))
        )
        assert np.all(outputs == chosen), (target, source)


def test_a_decoder_holds_the_plain_form_alone():
    @tf.function(input_signature=[tf.TensorSpec([2, 3, None, 8])])
    def function(key):
        return attention.attend(tf.zeros((2, 3, 1, 8)), key, key)

    graph = function.get_concrete_function().graph
    types = {operation.type for operation in graph.get_operations()}
    assert not types & {"If", "StatelessIf", "Case", "StatelessCase"}


@pytest.mark.parametrize("compiled", [False, True])
def test_both_forms_of_an_open_graph_train(compiled, tensors, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCKWISE_LENGTH", 4)
    monkeypatch.setattr(attention, "_BLOCKWISE_PAIRS", 24)
    specs = [
        tf.TensorSpec([None, HEADS, None, x.shape[-1]], "float64")
        for x in tensors
    ]

    def differentiate(*tensors, **arguments):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = attention.attend(*tensors, causal=True, **arguments)
            loss = tf.reduce_sum(outputs**2)
        return [outputs, *tape.gradient(loss, tensors)]

    @tf.function(input_signature=specs, jit_compile=compiled)
    def function(*tensors):
        # So little that nothing is dropped, but that seeds are drawn.
        return differentiate(*tensors, dropout=1e-9, seed=generator)

    generator = keras.random.SeedGenerator(3)
    for size in (3, 6):
        part = [tf.constant(x[:, :, :size]) for x in tensors]
        expected = differentiate(*part, blockwise=False)
        for a, e in zip(function(*part), expected, strict=True):
            np.testing.assert_allclose(a, e, atol=1e-6)
    assert generator.state.numpy()[1] == 2


def test_an_exported_layer_takes_both_forms(tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCKWISE_LENGTH", 4)
    monkeypatch.setattr(attention, "_BLOCKWISE_PAIRS", 25)
    layer = layers.SelfAttention(2, 4, causal=True)
    inputs = keras.Input((None, 8))
    mask = keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, padding_mask=mask))
    model.export(tmp_path, verbose=False)
    artifact = tf.saved_model.load(tmp_path)
    monkeypatch.undo()
    for length in (3, 9):
        x = np.random.default_rng(0).normal(size=(2, length, 8))
        real = np.arange(length) < [[length], [2]]
        np.testing.assert_allclose(
            artifact.serve([tf.constant(x, "float32"), real]),
            layer(x, padding_mask=real),
            atol=1e-6,
        )


@pytest.mark.parametrize("new_length", [1, 3])
def test_write_puts_new_positions_where_they_belong(new_length):
    generator = np.random.default_rng(0)
    cache = generator.normal(size=(3, 2, 7, 4)).astype("float32")
    new = generator.normal(size=(3, 2, new_length, 4)).astype("float32")
    # The last row runs over the end of the cache.
    starts = [0, 2, 6]
    positions = np.array(starts)[:, None] + np.arange(new_length)
    expected = cache.copy()
    for row, start in enumerate(starts):
        for step in range(new_length):
            if start + step < 7:
                expected[row, :, start + step] = new[row, :, step]
    np.testing.assert_array_equal(
        attention.write(cache, new, positions), expected
    )


def test_heads_merge_into_rows():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    merged = np.asarray(attention.merge_heads(x))
    assert merged.shape == (2 * 4, 3 * 5)
    for row, head, place in np.ndindex(2, 3, 4):
        np.testing.assert_array_equal(
            merged[4 * row + place, 5 * head : 5 * head + 5],
            x[row, head, place],
        )


def test_agrees_with_keras(tensors):
    query, key, value = (x.astype("float32") for x in tensors)
    # Keras lays out the length before the heads.
    peer = keras.ops.dot_product_attention(
        *(np.swapaxes(x, 1, 2) for x in (query, key, value[..., :5]))
    )
    np.testing.assert_allclose(
        attention.attend(query, key, value),
        np.swapaxes(peer, 1, 2),
        atol=1e-5,
    )

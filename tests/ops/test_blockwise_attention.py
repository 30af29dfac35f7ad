"""Tests of keras_xf.ops.blockwise_attention and keras_xf.ops.block_passes."""

import functools
import re
import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import attention
from keras_xf.ops import block_passes
from keras_xf.ops import blockwise_attention
from keras_xf.ops import reversible
from keras_xf.ops import target_platform
from keras_xf.ops.reversible import Branch
from tests.ops.test_block_masks import BATCH
from tests.ops.test_block_masks import BLOCK
from tests.ops.test_block_masks import CASES
from tests.ops.test_block_masks import HEADS
from tests.ops.test_block_masks import PADDING
from tests.ops.test_block_masks import SOURCE
from tests.ops.test_block_masks import TARGET
from tests.oracles import attention_gradients as oracle

SEED, RATE = tf.constant([3, 5]), 0.4


def draw(target=TARGET, source=SOURCE, dims=(4, 4, 5), lead=(BATCH, HEADS)):
    """Query, key, value and upstream, in float64."""
    random = np.random.default_rng(0)
    shapes = [(target, 0), (source, 1), (source, 2), (target, 2)]
    return [random.normal(size=(*lead, n, dims[dim])) for n, dim in shapes]


def differentiate(tensors, form=blockwise_attention.attend, **arguments):
    """Outputs and gradients."""
    *tensors, upstream = map(tf.convert_to_tensor, tensors)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = form(*tensors, **arguments)
    return [outputs, *tape.gradient(outputs, tensors, upstream)]


def expect(tensors, seen=True, factors=1.0):
    """What `differentiate` should return."""
    seen = np.broadcast_to(seen, (BATCH, TARGET, SOURCE))[:, None]
    *tensors, upstream = tensors
    return [
        oracle.attend(*tensors, seen, factors),
        *oracle.gradients(*tensors, seen, upstream, factors),
    ]


def assert_close(actual, expected, tolerance=1e-12):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "batched"),
    [(name, True) for name in CASES]
    + [(name, False) for name in ("nothing", "positions", "all")],
)
def test_outputs_and_gradients_match_the_oracle(name, batched):
    arguments, seen = CASES[name]
    tensors = draw()
    actual = differentiate(
        tensors, block_length=BLOCK, batched=batched, **arguments
    )
    assert_close(actual, expect(tensors, seen))


def test_a_long_sequence_equals_the_plain_form():
    tensors = [
        tf.constant(x, "float32")
        for x in draw(1100, 1100, dims=(16, 16, 16), lead=(1, 1))
    ]
    actual = differentiate(tensors, causal=True)
    plain = differentiate(
        tensors, attention.attend, causal=True, blockwise=False
    )
    assert_close(actual, plain, 1e-5)


def test_one_row_and_one_block_are_enough():
    tensors = [x[:1, :1] for x in draw(1, 3)]
    *arrays, upstream = tensors
    seen = np.ones((1, 1, 1, 3))
    assert_close(
        differentiate(tensors),
        [
            oracle.attend(*arrays, seen),
            *oracle.gradients(*arrays, seen, upstream),
        ],
    )


def test_queries_that_see_nothing_give_exact_zeros():
    mask = np.ones((BATCH, TARGET, SOURCE), bool)
    mask[0, 1] = False
    outputs, *gradients = differentiate(
        draw(),
        attention_mask=mask,
        padding_mask=PADDING,
        block_length=BLOCK,
    )
    np.testing.assert_array_equal(outputs[0, :, 1], 0)
    np.testing.assert_array_equal(outputs[2], 0)
    assert np.all(outputs[0, :, 0] != 0)
    np.testing.assert_array_equal(gradients[0][0, :, 1], 0)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[2], 0)


@functools.cache
def drop_pattern(batched, seed=3):
    """What dropout multiplies the weights with, read from outputs."""
    query, key, _, _ = draw()
    ones = np.broadcast_to(np.eye(SOURCE), (BATCH, HEADS, SOURCE, SOURCE))
    dropped, whole = (
        blockwise_attention.attend(
            query, key, ones, block_length=BLOCK, batched=batched, **arguments
        )
        for arguments in ({"dropout": RATE, "seed": (seed, 5)}, {})
    )
    return np.asarray(dropped / whole)


@pytest.mark.parametrize("batched", [False, True])
def test_dropout_drops_the_stated_fraction_anew_in_each_block(batched):
    factors = drop_pattern(batched)
    is_dropped = factors == 0
    # 1056 draws: four standard deviations are 0.06.
    assert abs(np.mean(is_dropped) - RATE) < 0.06
    np.testing.assert_allclose(factors[~is_dropped], 1 / (1 - RATE))
    # Whole blocks of all rows and heads: 6 by 6, of which 5 by 6 are queries'.
    parts = [
        is_dropped[:, :, first : first + 5, last : last + BLOCK].reshape(-1, 30)
        for first in (0, BLOCK)
        for last in (0, BLOCK)
    ]
    assert len(np.unique(np.concatenate(parts), axis=0)) == 4 * BATCH * HEADS
    assert np.any(drop_pattern(batched, seed=4) != factors)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", ["nothing", "all"])
def test_dropout_drops_the_same_in_both_passes(name, batched):
    arguments, seen = CASES[name]
    tensors = draw()
    actual = differentiate(
        tensors,
        dropout=RATE,
        seed=SEED,
        block_length=BLOCK,
        batched=batched,
        **arguments,
    )
    # A mask changes nothing about what is drawn.
    assert_close(actual, expect(tensors, seen, drop_pattern(batched)))


@pytest.mark.parametrize(
    ("compiled", "batched"), [(False, True), (True, False)]
)
def test_graphs_of_unknown_sizes_match_the_oracle(compiled, batched):
    arguments, seen = CASES["all"]
    tensors = draw()
    specs = [tf.TensorSpec([None, None, None, x.shape[-1]]) for x in tensors]

    @tf.function(input_signature=specs, jit_compile=compiled)
    def function(*tensors):
        return differentiate(
            tensors,
            dropout=RATE,
            seed=SEED,
            block_length=BLOCK,
            batched=batched,
            **arguments,
        )

    actual = function(*(tf.constant(x, "float32") for x in tensors))
    assert_close(actual, expect(tensors, seen, drop_pattern(batched)), 1e-5)


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_half_precision_is_rounded_at_the_end_alone(dtype, bits):
    tensors = [tf.constant(x, dtype) for x in draw()]
    actual = differentiate(tensors, block_length=BLOCK, batched=True)
    assert all(x.dtype == dtype for x in actual)
    expected = expect([tf.cast(x, "float64").numpy() for x in tensors])
    for a, e in zip(actual, expected, strict=True):
        # Half a unit of the last bit, and what float32 adds.
        np.testing.assert_allclose(
            tf.cast(a, "float64"), e, rtol=2.0**-bits, atol=1e-5
        )


def test_large_logits_stay_finite_and_choose():
    query, key, value, upstream = draw()
    results = differentiate(
        [
            tf.constant(x, "float32")
            for x in (300 * query, 300 * key, value, upstream)
        ],
        block_length=BLOCK,
        batched=True,
    )
    assert all(np.all(np.isfinite(x)) for x in results)
    chosen = np.argmax(np.einsum("bhtd,bhsd->bhts", query, key), axis=-1)
    np.testing.assert_allclose(
        results[0],
        np.take_along_axis(value, chosen[..., None], axis=2),
        atol=1e-5,
    )


def test_a_large_maximum_leaves_the_sum_as_it_is():
    # In float32 the log of the sum of 16 would be lost beside 1e8.
    query = np.full((1, 1, 1, 1), 1e8)
    key = np.ones((1, 1, SOURCE, 1))
    value = np.arange(SOURCE, dtype="float64").reshape(1, 1, SOURCE, 1)
    tensors = [tf.constant(x, "float32") for x in (query, key, value)]
    outputs, *gradients = differentiate(
        [*tensors, tf.ones((1, 1, 1, 1))], block_length=BLOCK
    )
    np.testing.assert_allclose(outputs, (SOURCE - 1) / 2)
    np.testing.assert_allclose(gradients[2], 1 / SOURCE, rtol=1e-6)


def largest_array(**arguments):
    """Numbers in the largest array of a compiled training step."""
    tensors = [
        tf.constant(x, "float32")
        for x in draw(64, 64, dims=(4, 4, 4), lead=(1, 2))
    ]

    @tf.function(jit_compile=True)
    def function(*tensors):
        return differentiate(tensors, **arguments)

    hlo = function.experimental_get_compiler_ir(*tensors)("hlo")
    shapes = re.findall(r"\b(?:f32|u32|pred|s32)\[([\d,]+)\]", hlo)
    return max(np.prod([int(n) for n in x.split(",")]) for x in shapes)


def test_no_array_is_as_large_as_all_pairs():
    arguments = {"causal": True, "dropout": 0.5}
    size = largest_array(seed=SEED, block_length=8, **arguments)
    assert size <= 2 * 64 * 8
    plain = largest_array(
        form=attention.attend, seed=3, blockwise=False, **arguments
    )
    assert plain == 2 * 64 * 64


def test_eager_execution_keeps_no_blocks(monkeypatch):
    weights = []

    class Spy:
        def __getattr__(self, name):
            return getattr(tf, name)

        def exp(self, x):
            result = tf.exp(x)
            weights.append(weakref.ref(result))
            return result

    monkeypatch.setattr(block_passes, "tf", Spy())
    query, key, value, _ = map(tf.constant, draw())
    with tf.GradientTape() as tape:
        tape.watch([query, key, value])
        outputs = blockwise_attention.attend(
            query, key, value, block_length=BLOCK
        )
    assert len(weights) > 0
    assert all(reference() is None for reference in weights)
    assert tape.gradient(outputs, query) is not None


@pytest.mark.parametrize("is_graph", [False, True])
def test_a_second_derivative_is_refused(is_graph):
    query, key, value, _ = map(tf.constant, draw(2, 2))

    def differentiate_twice():
        with tf.GradientTape() as outer:
            outer.watch(query)
            with tf.GradientTape() as inner:
                inner.watch(query)
                outputs = blockwise_attention.attend(
                    query, key, value, batched=True
                )
            gradient = inner.gradient(outputs, query)
        return outer.gradient(gradient, query)

    if is_graph:
        differentiate_twice = tf.function(differentiate_twice, autograph=False)
    with pytest.raises(
        LookupError,
        match=re.escape(
            "attention in blocks has no second gradients; "
            "`blockwise=False` has."
        ),
    ):
        differentiate_twice()


def test_it_may_stand_in_a_reversible_stack():
    def attend(x, weights, state, record):
        heads = tf.reshape(x @ weights[0], (2, 9, 2, 3))
        heads = tf.transpose(heads, (0, 2, 1, 3))
        outputs = blockwise_attention.attend(
            heads,
            heads,
            heads,
            causal=True,
            dropout=0.3,
            seed=state[0],
            block_length=BLOCK,
            batched=True,
        )
        outputs = tf.transpose(outputs, (0, 2, 1, 3))
        return tf.reshape(outputs, (2, 9, 6)), [state[0] + 1], record

    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(2, 9, 6)))
    weights = [tf.constant(random.normal(size=(6, 6))) for _ in range(2)]
    block = (Branch(attend, (0,), (0,)), Branch(attend, (1,), (0,)))

    def run(recompute):
        with tf.GradientTape() as tape:
            tape.watch([x, *weights])
            y1, y2, _ = reversible.reversible_sequence(
                [block], x, x, weights, [SEED], recompute=recompute
            )
            loss = tf.reduce_sum(y1 * y2)
        return [loss, *tape.gradient(loss, [x, *weights])]

    assert_close(run(True), run(False), 1e-9)


def test_programs_for_a_gpu_go_through_all_rows_at_once():
    tensors = [tf.constant(x, "float32") for x in draw()]
    arguments, _ = CASES["all"]

    @tf.function(jit_compile=True)
    def function(*tensors):
        return differentiate(
            tensors, block_length=BLOCK, dropout=0.1, seed=SEED, **arguments
        )

    with target_platform.lowering_for("GPU"):
        lowered = function.experimental_get_compiler_ir(*tensors)
        text = lowered(stage="stablehlo", platform_name="GPU")
    assert f"tensor<{BATCH}x{HEADS}x{BLOCK}x{BLOCK}xf32>" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"block_length": 0},
            "`block_length` must be positive. Received: block_length=0.",
        ),
        (
            {"dropout": 0.5},
            "`seed` must be given if there is `dropout`. Received: "
            "dropout=0.5, seed=None.",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        blockwise_attention.attend(*draw()[:3], **arguments)
    assert str(error.value) == message


def test_other_heads_are_refused():
    query, key, value, _ = draw()
    with pytest.raises(ValueError) as error:
        blockwise_attention.attend(query, key[:, :1], value)
    assert str(error.value) == (
        "`query`, `key` and `value` must have the same batch and heads. "
        "Received: query=(3, 2, 11, 4), key=(3, 1, 16, 4), "
        "value=(3, 2, 16, 5)."
    )

"""Tests of keras_xf.ops.relative."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import relative
from tests.oracles import transformer_xl as oracle

BATCH, HEADS, DIM, KEY_DIM, VALUE_DIM = 3, 2, 8, 4, 3
LENGTH, MEMORY_LENGTH = 5, 6
# Of each row, how much of the memory and of the segment is real.
REMEMBERED, REAL = [6, 2, 0], [5, 3, 4]


@pytest.fixture
def layer():
    """Weights as the oracle has them."""
    generator = np.random.default_rng(0)
    shapes = {
        "query": (DIM, HEADS, KEY_DIM),
        "key": (DIM, HEADS, KEY_DIM),
        "value": (DIM, HEADS, VALUE_DIM),
        "position": (DIM, HEADS, KEY_DIM),
        "output": (HEADS, VALUE_DIM, DIM),
        "content_bias": (HEADS, KEY_DIM),
        "position_bias": (HEADS, KEY_DIM),
    }
    return {name: generator.normal(size=s) for name, s in shapes.items()}


@pytest.fixture
def sources():
    generator = np.random.default_rng(1)
    return generator.normal(size=(BATCH, MEMORY_LENGTH + LENGTH, DIM))


def arguments_of(layer, sources, clamp_length=None, length=LENGTH):
    """What `attend` takes for a segment at the end of `sources`."""
    positions = relative.distance_sinusoids(
        sources.shape[1], DIM, clamp_length, "float64"
    )

    def project(name, rows=sources):
        return np.einsum("bld,dhk->bhlk", rows, layer[name])

    return {
        "query": project("query", sources[:, -length:]),
        "key": project("key"),
        "value": project("value"),
        "position_key": np.einsum("ld,dhk->hlk", positions, layer["position"]),
        "content_bias": layer["content_bias"],
        "position_bias": layer["position_bias"],
    }


def real_sources():
    """Mask of what is real of memories and segments."""
    places = np.arange(MEMORY_LENGTH + LENGTH) - MEMORY_LENGTH
    first, last = -np.c_[REMEMBERED], np.c_[REAL]
    return (places >= first) & (places < last)


@pytest.mark.parametrize(("target", "source"), [(1, 1), (3, 3), (4, 9), (1, 7)])
def test_shift_gathers_each_pairs_distance(target, source):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 3, target, source + 1))
    shifted = np.asarray(relative.shift(logits))
    assert shifted.shape == (2, 3, target, source)
    pairs = 0
    for i, j in np.ndindex(target, source):
        distance = i + (source - target) - j
        if distance >= 0:
            column = source - distance
            np.testing.assert_array_equal(
                shifted[..., i, j], logits[..., i, column]
            )
            pairs += 1
    assert pairs == target * (source - target) + target * (target + 1) // 2


def test_shift_of_lengths_known_late():
    spec = tf.TensorSpec([None, None, None], "float32")

    @tf.function(input_signature=[spec])
    def function(logits):
        return relative.shift(logits)

    logits = np.random.default_rng(0).normal(size=(2, 4, 10)).astype("float32")
    np.testing.assert_array_equal(function(logits), relative.shift(logits))


@pytest.mark.parametrize("clamp_length", [None, 1, 4, 7, 20])
def test_sinusoids_count_down_to_oneself(clamp_length):
    rows = relative.distance_sinusoids(7, 6, clamp_length, "float64")
    distances = [7, 6, 5, 4, 3, 2, 1, 0]
    if clamp_length is not None:
        distances = [min(d, clamp_length) for d in distances]
    np.testing.assert_allclose(
        rows, [oracle.sinusoid(d, 6) for d in distances], atol=1e-12
    )


def test_sinusoids_of_a_length_known_late():
    @tf.function(input_signature=[tf.TensorSpec([], "int32")])
    def function(source_length):
        return relative.distance_sinusoids(source_length, 6, 3)

    np.testing.assert_array_equal(
        function(5), relative.distance_sinusoids(5, 6, 3)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_tells_great_distances_apart(dtype):
    rows = relative.distance_sinusoids(4096, 64, dtype=dtype)
    assert rows.dtype == dtype
    # Distances that were rounded themselves would be as many as 8 or 16 off.
    wide = np.asarray(tf.cast(rows, "float32"))
    expected = relative.distance_sinusoids(4096, 64)
    np.testing.assert_allclose(wide, expected, atol=4e-3)
    assert len(np.unique(wide, axis=0)) == 4097


@pytest.mark.parametrize("attention_window", [None, 1, 3, 7, 11, 12])
@pytest.mark.parametrize("clamp_length", [None, 4])
def test_attend_matches_the_oracle(
    layer, sources, attention_window, clamp_length
):
    options = {"attention_window": attention_window}
    outputs = relative.attend(
        **arguments_of(layer, sources, clamp_length),
        source_mask=real_sources(),
        **options,
    )
    outputs = np.einsum("bhlv,hvd->bld", outputs, layer["output"])
    for row in range(BATCH):
        real = sources[row, real_sources()[row]]
        memory, inputs = np.split(real, [REMEMBERED[row]])
        expected = oracle.attend(
            layer, inputs, memory, clamp_length=clamp_length, **options
        )
        np.testing.assert_allclose(
            outputs[row, : REAL[row]], expected, atol=1e-12
        )


def test_all_is_real_by_default(layer, sources):
    arguments = arguments_of(layer, sources)
    mask = np.ones(sources.shape[:2], bool)
    np.testing.assert_allclose(
        relative.attend(**arguments),
        relative.attend(**arguments, source_mask=mask),
        atol=1e-12,
    )


def test_a_query_that_sees_nothing_gives_zeros(layer, sources):
    mask = np.ones(sources.shape[:2], bool)
    # The query of the last place but one is left with a key out of its reach.
    mask[0, -4:-1] = False
    outputs = relative.attend(
        **arguments_of(layer, sources), source_mask=mask, attention_window=3
    )
    seen = np.any(outputs != 0, axis=(1, 3))
    np.testing.assert_array_equal(seen[0], [True, True, True, False, True])
    assert np.all(seen[1:])


def test_positions_may_differ_by_row(layer, sources):
    arguments = arguments_of(layer, sources)
    expected = np.asarray(relative.attend(**arguments))
    positions = arguments.pop("position_key")
    for_rows = np.stack([positions, 2 * positions, positions])
    outputs = relative.attend(**arguments, position_key=for_rows)
    np.testing.assert_allclose(outputs[::2], expected[::2], atol=1e-12)
    alone = relative.attend(**arguments, position_key=2 * positions)
    np.testing.assert_allclose(outputs[1], alone[1], atol=1e-12)


@pytest.mark.parametrize("attention_window", [None, 4])
def test_gradients_equal_central_differences(layer, sources, attention_window):
    arguments = arguments_of(layer, sources)
    points = {name: tf.Variable(value) for name, value in arguments.items()}
    generator = np.random.default_rng(2)
    factors = generator.normal(size=(BATCH, HEADS, LENGTH, VALUE_DIM))

    def weighted_sum():
        outputs = relative.attend(
            **{name: point + 0.0 for name, point in points.items()},
            source_mask=real_sources(),
            attention_window=attention_window,
        )
        return tf.reduce_sum(outputs * factors)

    with tf.GradientTape() as tape:
        loss = weighted_sum()
    gradients = tape.gradient(loss, points)
    for name, point in points.items():
        direction = generator.normal(size=point.shape)
        values = []
        for step in (1e-6, -1e-6):
            point.assign_add(step * direction)
            values.append(weighted_sum())
            point.assign_sub(step * direction)
        np.testing.assert_allclose(
            tf.reduce_sum(gradients[name] * direction),
            (values[0] - values[1]) / 2e-6,
            rtol=1e-6,
            atol=1e-6,
            err_msg=name,
        )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_of_known_and_open_lengths_agree(layer, sources, jit_compile):
    arguments = arguments_of(layer, sources)
    for shapes in (
        {name: x.shape for name, x in arguments.items()},
        {
            name: [None if size > 4 else size for size in x.shape]
            for name, x in arguments.items()
        },
    ):
        names = list(arguments)

        @tf.function(
            input_signature=[
                tf.TensorSpec(shapes[name], "float64") for name in names
            ],
            jit_compile=jit_compile,
        )
        def function(*values):
            return relative.attend(
                **dict(zip(names, values, strict=True)), attention_window=5
            )

        np.testing.assert_allclose(
            function(*arguments.values()),
            relative.attend(**arguments, attention_window=5),
            atol=1e-12,
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_near_single(layer, sources, dtype):
    arguments = arguments_of(layer, sources)
    narrow = {
        name: tf.cast(tf.constant(value), dtype)
        for name, value in arguments.items()
    }
    outputs = relative.attend(**narrow, source_mask=real_sources())
    assert outputs.dtype == dtype
    expected = relative.attend(
        **{name: tf.cast(value, "float64") for name, value in narrow.items()},
        source_mask=real_sources(),
    )
    tolerance = {"float16": 0.02, "bfloat16": 0.2}[dtype]
    np.testing.assert_allclose(
        np.asarray(tf.cast(outputs, "float64")), expected, atol=tolerance
    )


def test_dropout_drops_weights_and_needs_a_seed(layer, sources):
    arguments = arguments_of(layer, sources)
    first, again, other = (
        relative.attend(**arguments, dropout=0.5, seed=seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    with pytest.raises(ValueError) as error:
        relative.attend(**arguments, dropout=0.5)
    assert str(error.value) == (
        "`seed` must be given if there is `dropout`. Received: dropout=0.5, "
        "seed=None."
    )

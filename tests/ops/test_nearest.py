"""Tests of keras_xf.ops.nearest."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import nearest
from tests.oracles import quantization as oracle


def arrays(number, num_codes, dim, parts=1, offset=0.0, scale=1.0):
    generator = np.random.default_rng(number + num_codes)
    return [
        (offset + scale * generator.normal(size=(parts, size, dim))).astype(
            "float32"
        )
        for size in (number, num_codes)
    ]


@pytest.mark.parametrize(
    ("num_codes", "parts"),
    [(1, 3), (5, 1), (63, 3), (64, 1), (64, 3), (100, 3), (512, 1)],
)
@pytest.mark.parametrize("scores", [2**20, 4096])
def test_equals_the_search(num_codes, parts, scores, monkeypatch):
    # Few scores at a time make many blocks, the last of which is not full.
    monkeypatch.setitem(nearest.SCORES, "CPU", scores)
    vectors, codes = arrays(301, num_codes, 6, parts)
    expected = [oracle.nearest(*pair) for pair in zip(vectors, codes, strict=1)]
    for function in (
        nearest.nearest_codes,
        tf.function(nearest.nearest_codes),
        tf.function(nearest.nearest_codes, jit_compile=True),
        tf.function(
            nearest.nearest_codes,
            input_signature=[
                tf.TensorSpec((parts, None, 6)),
                tf.TensorSpec(codes.shape),
            ],
        ),
    ):
        found = function(tf.constant(vectors), tf.constant(codes))
        assert found.dtype == "int32"
        np.testing.assert_array_equal(found, expected)


def test_what_all_share_costs_no_digits():
    vectors, codes = arrays(500, 128, 32, offset=100.0, scale=0.01)
    found = nearest.nearest_codes(vectors, codes)[0]
    np.testing.assert_array_equal(found, oracle.nearest(vectors[0], codes[0]))


def test_half_precision_is_searched_in_single():
    vectors, codes = arrays(500, 512, 64, offset=10.0, scale=0.1)
    vectors = vectors.astype("float16")
    found = nearest.nearest_codes(tf.constant(vectors), codes)[0]
    np.testing.assert_array_equal(found, oracle.nearest(vectors[0], codes[0]))


@pytest.mark.parametrize("num_codes", [4, 128])
def test_of_equal_codes_the_first_is_found(num_codes):
    _, codes = arrays(1, num_codes, 4)
    twice = np.concatenate([codes, codes], axis=1)
    found = nearest.nearest_codes(codes, twice)[0]
    np.testing.assert_array_equal(found, np.arange(num_codes))


@pytest.mark.parametrize("num_codes", [4, 100])
@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_what_is_not_finite_finds_some_code(num_codes, dim, value, jit_compile):
    vectors, codes = arrays(9, num_codes, dim)
    vectors[0, 3] = value
    search = tf.function(nearest.nearest_codes, jit_compile=jit_compile)
    found = search(vectors, codes)[0].numpy()
    assert 0 <= found.min() <= found.max() < num_codes
    others = np.arange(9) != 3
    np.testing.assert_array_equal(
        found[others], oracle.nearest(vectors[0, others], codes[0])
    )


@pytest.mark.parametrize("num_codes", [4, 128])
def test_nothing_finds_nothing(num_codes):
    vectors, codes = arrays(0, num_codes, 4)
    assert nearest.nearest_codes(vectors, codes).shape == (1, 0)


def test_distances_are_never_in_memory_for_all():
    vectors, codes = arrays(2048, 8192, 8)
    compiled = tf.function(nearest.nearest_codes, jit_compile=True)
    program = compiled.experimental_get_compiler_ir(vectors, codes)(
        stage="optimized_hlo"
    )
    assert "f32[1,2048,8192]" not in program
    assert "f32[1,128,8192]" in program or "f32[128,8192]" in program


@pytest.mark.parametrize("num_codes", [4, 100])
@pytest.mark.parametrize("scores", [2**20, 40_000])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_codes_are_drawn_by_their_distances(
    num_codes, scores, jit_compile, monkeypatch
):
    monkeypatch.setitem(nearest.SCORES, "CPU", scores)
    vectors, codes = arrays(2, num_codes, 3, parts=2)
    draws = 20_000
    many = np.repeat(vectors, draws, axis=1)
    draw = tf.function(nearest.draw_codes, jit_compile=jit_compile)
    drawn = np.asarray(draw(many, codes, tf.constant([1, 2]), 2))
    assert drawn.shape == (2, 2, 2 * draws) and drawn.dtype == "int32"
    assert np.any(drawn[0] != drawn[1])
    for part, vector in np.ndindex(2, 2):
        squares = np.sum((codes[part] - vectors[part, vector]) ** 2, axis=-1)
        expected = np.exp(-squares) / np.sum(np.exp(-squares))
        own = drawn[:, part, vector * draws : (vector + 1) * draws]
        found = np.bincount(own.ravel(), minlength=num_codes) / (2 * draws)
        # Five standard deviations.
        assert np.all(
            np.abs(found - expected)
            < 5 * np.sqrt(expected / (2 * draws)) + 1 / draws
        )

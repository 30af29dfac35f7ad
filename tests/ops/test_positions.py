"""Tests of keras_xf.ops.positions."""

import math

import numpy as np
import pytest

from keras_xf.ops import positions


def test_sinusoids_match_the_paper():
    dim = 6
    actual = np.asarray(positions.sinusoids(np.arange(50), dim, "float64"))
    for position in range(50):
        for index in range(dim // 2):
            angle = position / 10000 ** (2 * index / dim)
            assert actual[position, index] == pytest.approx(math.sin(angle))
            assert actual[position, dim // 2 + index] == pytest.approx(
                math.cos(angle)
            )


def test_half_precision_tells_large_positions_apart():
    embedding = positions.sinusoids(np.array([4096, 4097]), 8, "bfloat16")
    exact = positions.sinusoids(np.array([4096, 4097]), 8, "float64")
    np.testing.assert_allclose(
        np.asarray(embedding).astype("float64"), exact, atol=0.005
    )


def test_rotate_multiplies_by_a_complex_phase():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 3, 5, 8))
    place = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]])
    pairs = x[..., :4] + 1j * x[..., 4:]
    frequencies = 10000.0 ** (-2 * np.arange(4) / 8)
    turned = pairs * np.exp(1j * place[:, None, :, None] * frequencies)
    np.testing.assert_allclose(
        positions.rotate(x, place),
        np.concatenate([turned.real, turned.imag], axis=-1),
        atol=1e-12,
    )


def test_products_of_rotated_vectors_know_only_the_distance():
    generator = np.random.default_rng(0)
    query, key = generator.normal(size=(2, 1, 1, 1, 8))

    def product(query_position, key_position):
        turned_query = positions.rotate(query, np.array([query_position]))
        turned_key = positions.rotate(key, np.array([key_position]))
        return np.sum(np.asarray(turned_query) * np.asarray(turned_key))

    assert product(3, 1) == pytest.approx(product(1003, 1001))
    assert product(3, 1) != pytest.approx(product(3, 2))

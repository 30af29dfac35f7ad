"""Tests of keras_xf.ops.lsh_hashing."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import lsh_hashing
from tests.oracles import lsh as oracle

SEED = tf.constant([1, 2])


@pytest.mark.parametrize(
    ("length", "chunk_length", "factors"),
    [
        (1, 64, (2,)),
        (127, 64, (2,)),
        (128, 64, (4,)),
        (1000, 64, (30,)),
        (4096, 64, (128,)),
        (4160, 64, (16, 8)),
        (12288, 128, (16, 12)),
        (16384, 64, (32, 16)),
        (65536, 256, (32, 16)),
        (65536, 64, (64, 32)),
        (2**20, 16, (512, 256)),
    ],
)
def test_bucket_factors(length, chunk_length, factors):
    known = lsh_hashing.bucket_factors(length, chunk_length)
    assert known == factors
    open_ = lsh_hashing.bucket_factors(tf.constant(length), chunk_length)
    assert [int(factor) for factor in open_] == [*factors, 0][:2]


@pytest.mark.parametrize("factors", [(8,), (4, 6), (4, 2, 6)])
def test_buckets_match_the_oracle(factors):
    vectors = np.random.default_rng(0).normal(size=(2, 9, 3, 5))
    rotations = lsh_hashing.draw_rotations(
        SEED, num_heads=3, key_dim=5, num_hashes=4, factors=factors
    )
    assert rotations.shape == (3, 5, 4, sum(factors) // 2)
    expected = oracle.buckets(vectors, np.asarray(rotations), factors)
    assert len(np.unique(expected)) > 5
    for jit_compile in (False, True):
        buckets = tf.function(
            lambda x: lsh_hashing.hash_vectors(x, rotations, factors),
            jit_compile=jit_compile,
        )(vectors)
        np.testing.assert_array_equal(buckets, expected)


@pytest.mark.parametrize("length", [9, 600])
def test_factors_of_an_open_length_give_the_same_buckets(length):
    vectors = np.random.default_rng(0).normal(size=(1, length, 2, 3))

    def buckets(vectors, length):
        factors = lsh_hashing.bucket_factors(length, 4)
        rotations = lsh_hashing.draw_rotations(
            SEED, num_heads=2, key_dim=3, num_hashes=2, factors=factors
        )
        return lsh_hashing.hash_vectors(vectors, rotations, factors)

    np.testing.assert_array_equal(
        tf.function(buckets)(vectors, tf.constant(length)),
        buckets(vectors, length),
    )


def test_first_rotations_are_the_same_however_many():
    def draw(num_hashes, factors):
        return lsh_hashing.draw_rotations(
            SEED,
            num_heads=2,
            key_dim=3,
            num_hashes=num_hashes,
            factors=factors,
        )

    many = np.asarray(draw(4, (8, 6)))
    np.testing.assert_array_equal(draw(2, (8, 6)), many[:, :, :2])
    np.testing.assert_array_equal(draw(4, (6,)), many[..., :3])
    # All rounds, heads and directions differ.
    assert len(np.unique(many)) == many.size


def test_ties_go_to_the_first():
    # Of two directions and their opposites: (x, y, -x, -y).
    vectors = np.array([[0, 0], [1, 1], [-1, -1], [1, -1], [-1, 1], [0, -2]])
    rotations = np.eye(2)[None, :, None]
    buckets = lsh_hashing.hash_vectors(vectors[None, :, None], rotations, (4,))
    np.testing.assert_array_equal(buckets[0, 0, 0], [0, 0, 2, 0, 1, 3])


def test_padding_is_behind_all_buckets():
    vectors = np.random.default_rng(0).normal(size=(2, 9, 3, 5))
    rotations = np.random.default_rng(1).normal(size=(3, 5, 2, 4))
    mask = np.random.default_rng(2).random((2, 9)) < 0.5
    buckets = np.asarray(
        lsh_hashing.hash_vectors(vectors, rotations, (2, 6), mask)
    )
    real = np.broadcast_to(mask[:, None, None], buckets.shape)
    assert np.all(buckets[~real] == 12) and np.all(buckets[real] < 12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_hashing_is_in_float32(dtype):
    vectors = tf.cast(
        np.random.default_rng(0).normal(size=(1, 99, 1, 8)), dtype
    )
    rotations = np.random.default_rng(1).normal(size=(1, 8, 1, 50))
    np.testing.assert_array_equal(
        lsh_hashing.hash_vectors(vectors, rotations, (100,)),
        lsh_hashing.hash_vectors(
            tf.cast(vectors, "float32"), rotations, (100,)
        ),
    )

"""Tests of keras_xf.layers.DVQ."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import DVQ
from keras_xf.layers import VQEMA

CODES = np.array([[[0, 0], [1, 1]], [[0, 1], [1, 0]]], "float32")
VECTORS = np.array(
    [[0.2, 0.1, 0.9, 0.2], [0.8, 0.9, 0.1, 0.7], [0.6, 0.6, 0.4, 0.45]],
    "float32",
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_golden_case():
    layer = DVQ(2, num_parts=2, return_indices=True)
    layer.set_codebook(CODES)
    outputs, indices = layer(VECTORS)
    np.testing.assert_array_equal(indices, [[0, 1], [1, 0], [1, 0]])
    np.testing.assert_array_equal(
        outputs, [[0, 0, 1, 0], [1, 1, 0, 1], [1, 1, 0, 1]]
    )
    np.testing.assert_allclose(layer.losses, [0.021510], atol=5e-7)
    np.testing.assert_array_equal(layer.pack_indices(indices), [2, 1, 1])
    big = layer.pack_indices(indices, order="big")
    np.testing.assert_array_equal(big, [1, 2, 2])
    np.testing.assert_array_equal(layer.unpack_indices(big, "big"), indices)


@pytest.mark.parametrize("ema_init", ["ones", "zero_debias"])
def test_one_part_is_an_ordinary_codebook(ema_init):
    options = {"num_codes": 9, "ema_init": ema_init, "return_indices": True}
    plain, parts = VQEMA(**options), DVQ(num_parts=1, **options)
    codes = normal(9, 4)
    plain.set_codebook(codes)
    parts.set_codebook(codes[None])
    for seed in range(3):
        inputs = normal(30, 4, seed=seed)
        expected, indices = plain(inputs, training=True)
        outputs, of_parts = parts(inputs, training=True)
        np.testing.assert_array_equal(outputs, expected)
        np.testing.assert_array_equal(of_parts[:, 0], indices)
        assert parts.losses == plain.losses
    for a, b in zip(parts.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_each_part_is_a_codebook_of_its_slices():
    layer = DVQ(5, num_parts=3)
    alone = [VQEMA(5) for _ in range(3)]
    codes = normal(3, 5, 2)
    layer.set_codebook(codes)
    for part, other in enumerate(alone):
        other.set_codebook(codes[part])
    for seed in range(3):
        inputs = normal(30, 6, seed=seed)
        outputs = layer(inputs, training=True)
        expected = [
            other(inputs[:, 2 * part : 2 * part + 2], training=True)
            for part, other in enumerate(alone)
        ]
        np.testing.assert_array_equal(outputs, np.concatenate(expected, -1))
        loss = np.mean([other.losses[0] for other in alone])
        np.testing.assert_allclose(layer.losses, [loss], rtol=1e-6)
    for part, other in enumerate(alone):
        np.testing.assert_allclose(
            layer.codebook[part], other.codebook, rtol=1e-6
        )
        np.testing.assert_allclose(layer.usage()[part], other.usage())
    usage = layer.code_usage.result()
    perplexities = [
        other.code_usage.result()[f"{other.name}_perplexity"] for other in alone
    ]
    for name, expected in (
        ("perplexity", np.mean(perplexities)),
        ("smallest_perplexity", np.min(perplexities)),
    ):
        np.testing.assert_allclose(
            usage[f"{layer.name}_{name}"], expected, rtol=1e-6
        )


@pytest.mark.parametrize("samples", [0, 3])
def test_combinations_are_counted(samples):
    layer = DVQ(3, num_parts=2, samples=samples, seed=1, name="codes")
    layer.set_codebook(10 * normal(2, 3, 2))
    hits = np.zeros(9)
    for seed in range(2):
        inputs, mask = normal(30, 4, seed=seed), normal(30, seed=9) > -0.5
        # So far apart that what is drawn is what is nearest.
        indices = layer.encode(10 * inputs).numpy()[mask]
        hits += np.bincount(indices @ [1, 3], minlength=9)
        layer(10 * inputs, training=True, mask=mask)
    usage = layer.joint_usage.result()
    assert usage["codes_joint_active_codes"] == np.sum(hits > 0)
    p = hits[hits > 0] / hits.sum()
    np.testing.assert_allclose(
        usage["codes_joint_perplexity"],
        np.exp(-np.sum(p * np.log(p))),
        rtol=0.1,
    )
    np.testing.assert_allclose(
        np.sum(layer.joint_usage.hits), hits.sum(), rtol=1e-5
    )
    if not samples:
        np.testing.assert_array_equal(layer.joint_usage.hits, hits)
    # What cannot be counted is not.
    wide = DVQ(1025, num_parts=2)
    wide(normal(3, 4), training=True)
    assert wide.joint_usage is None


def test_projections_onto_slices_are_slices():
    sliced, projected = DVQ(5), DVQ(5, projected=True)
    codes = normal(2, 5, 3)
    sliced.set_codebook(codes)
    projected.set_codebook(codes)
    projected.projections.assign(np.stack([np.eye(6)[:, :3], np.eye(6)[:, 3:]]))
    for seed in range(2):
        inputs = normal(30, 6, seed=seed)
        np.testing.assert_array_equal(
            projected(inputs, training=True), sliced(inputs, training=True)
        )
        np.testing.assert_allclose(projected.losses, sliced.losses, rtol=1e-6)
    np.testing.assert_allclose(projected.codebook, sliced.codebook, rtol=1e-6)


@pytest.mark.parametrize("identity_gradient", [False, True])
def test_gradient_passes_through_projections_or_skips_them(identity_gradient):
    layer = DVQ(
        5, projected=True, identity_gradient=identity_gradient, commitment=0.0
    )
    layer.build((None, 6))
    inputs, factors = tf.constant(normal(8, 6)), normal(8, 6, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs * factors)
    projections = np.concatenate([*layer.projections.numpy()], axis=-1)
    expected = factors if identity_gradient else factors @ projections.T
    np.testing.assert_allclose(tape.gradient(loss, inputs), expected, atol=1e-5)
    rows = layer.decode_from_indices(layer.encode(inputs))
    np.testing.assert_array_equal(outputs, rows)


def test_projections_are_fixed_and_differ():
    layer = DVQ(5, num_parts=2, projected=True, seed=1)
    layer.build((None, 6))
    before = layer.projections.numpy()
    assert np.all(before[0] != before[1])
    assert not layer.trainable_weights
    layer(normal(8, 6), training=True)
    np.testing.assert_array_equal(layer.projections.numpy(), before)


def test_projections_are_glorot_uniform():
    layer = DVQ(5, num_parts=2, projected=True, seed=1)
    layer.build((None, 100))
    limit = np.sqrt(6 / (100 + 50))
    for projection in layer.projections.numpy():
        # Of 5000 draws; two hundredths are five standard deviations.
        levels = np.sort(projection.ravel()) / limit / 2 + 0.5
        np.testing.assert_allclose(
            levels, (np.arange(5000) + 0.5) / 5000, atol=0.02
        )
        assert np.abs(projection).max() <= limit


@pytest.mark.parametrize("projected", [False, True])
def test_parts_are_searched_by_one_product(projected):
    layer = DVQ(5, num_parts=4, projected=projected)
    layer.build((6, 8))
    graph = tf.function(layer).get_concrete_function(
        tf.TensorSpec((6, 8)), training=True
    )
    products = [
        tuple(op.outputs[0].shape)
        for op in graph.graph.get_operations()
        if "MatMul" in op.type or "Einsum" in op.type
    ]
    assert products == [(4, 6, 2)] * projected + [(4, 6, 5)]


def test_rejects_parts_that_do_not_fit():
    with pytest.raises(ValueError) as error:
        DVQ(5, num_parts=4).build((None, 6))
    assert str(error.value) == (
        "`inputs` must have a last axis that is a multiple of the number of "
        "parts. Received: shape=(None, 6), parts=4."
    )


def test_rejects_packed_indices_beyond_int32():
    layer = DVQ(128, num_parts=5)
    for function, shape in (
        (layer.pack_indices, (2, 5)),
        (layer.unpack_indices, (2,)),
    ):
        with pytest.raises(ValueError) as error:
            function(np.zeros(shape, "int32"))
        assert str(error.value) == (
            "Packed indices must fit an int32. Received: base=128, digits=5."
        )

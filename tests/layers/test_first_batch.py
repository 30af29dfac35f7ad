"""Codebooks that begin from the first training batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import DVQ
from keras_xf.layers import VQ
from keras_xf.layers import VQEMA
from keras_xf.layers import codebook_layer

MAKERS = {
    "VQ": lambda **kwargs: VQ(6, seed=1, **kwargs),
    "VQEMA": lambda **kwargs: VQEMA(6, seed=1, decay=0.9, **kwargs),
    "DVQ": lambda **kwargs: DVQ(6, seed=1, decay=0.9, **kwargs),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def values(layer):
    return [variable.numpy() for variable in layer.weights]


def parts_of(layer, inputs):
    rows = inputs.reshape(-1, inputs.shape[-1])
    return np.split(rows, 2, axis=-1) if isinstance(layer, DVQ) else [rows]


def codes_of(layer):
    codes = layer.codebook.numpy()
    return codes if isinstance(layer, DVQ) else codes[None]


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_codes_begin_as_vectors_that_a_mask_does_not_hide(make, jit_compile):
    layer = make(first_batch="data", return_indices=True)
    layer.build((4, 5, 4))
    inputs, mask = 5 + normal(4, 5, 4), np.arange(5) < np.full((4, 1), 3)

    def call(inputs):
        return layer(inputs, training=True, mask=mask)

    if jit_compile is not None:
        call = tf.function(call, jit_compile=jit_compile)
    outputs, indices = map(np.asarray, call(tf.constant(inputs)))
    assert layer.initialized.numpy() == 1
    for part, (rows, found) in enumerate(
        zip(
            parts_of(layer, inputs[mask]), parts_of(layer, outputs), strict=True
        )
    ):
        rows = {tuple(row) for row in rows}
        # Of the codebook that the step began with.
        found = {tuple(row) for row in found} - {(0,) * found.shape[1]}
        assert found <= rows
        assert len(found) == 6, "each code is nearest to the vector it was"
        of_part = indices[mask].reshape(12, -1)[:, part]
        hits = np.bincount(of_part, minlength=6)
        usage = np.reshape(layer.usage(), (-1, 6))[part]
        # The averages go on from the hits.
        np.testing.assert_allclose(usage, hits, rtol=1e-6)


def test_only_the_first_batch_with_vectors_counts(make):
    layer, plain = make(first_batch="data"), make()
    layer.build((4, 5, 4))
    plain.build((4, 5, 4))
    before = values(layer)
    inputs = normal(4, 5, 4)
    # Neither inference, nor nothing, nor what is not finite.
    layer(inputs)
    layer(inputs, training=True, mask=np.zeros((4, 5), "bool"))
    layer(inputs[:0], training=True)
    tf.function(layer)(tf.constant(inputs * np.nan), training=True)
    for value, old in zip(values(layer), before, strict=True):
        np.testing.assert_array_equal(value, old)
    layer(inputs, training=True)
    plain.set_codebook(layer.codebook)
    plain.counts.assign(layer.counts)
    if hasattr(plain, "sums"):
        plain.sums.assign(layer.sums)
    for seed in (1, 2):
        inputs = normal(4, 5, 4, seed=seed)
        layer(inputs, training=True)
        plain(inputs, training=True)
        np.testing.assert_array_equal(layer.codebook, plain.codebook)


def test_a_codebook_that_is_given_stays(make):
    for give in ("set_codebook", "adapt"):
        layer = make(first_batch="data")
        layer.build((4, 5, 4))
        if give == "adapt":
            layer.adapt(50 + normal(4, 5, 4))
        else:
            layer.set_codebook(50 + normal(*layer.codebook.shape))
        layer(normal(4, 5, 4), training=True)
        assert layer.initialized.numpy() == 1
        # All but the one that was hit are where they were.
        assert np.all(np.sum(codes_of(layer).min(-1) > 45, axis=-1) >= 5)


@pytest.mark.parametrize("seed", range(10))
def test_k_means_finds_blobs(seed):
    centers = 10 * normal(6, 4)
    vectors = np.repeat(centers, 30, axis=0) + 1e-3 * normal(180, 4, seed=1)
    layer = VQEMA(6, first_batch="k_means", seed=seed)
    layer(vectors.reshape(18, 10, 4), training=True)
    np.testing.assert_array_equal(layer.usage(), [30] * 6)
    found = layer.encode(centers)
    np.testing.assert_allclose(
        layer.decode_from_indices(found), centers, atol=1e-3
    )


def test_compiled_k_means_is_that_of_eager_execution(monkeypatch):
    # Each round is compiled for itself.
    monkeypatch.setattr(codebook_layer, "K_MEANS_ROUNDS", 2)
    eager, compiled = (MAKERS["DVQ"](first_batch="k_means") for _ in range(2))
    for layer in (eager, compiled):
        layer.build((4, 10, 4))
    compiled.set_weights(eager.get_weights())
    inputs, mask = 5 + normal(4, 10, 4), np.arange(10) < np.full((4, 1), 7)
    step = tf.function(compiled, jit_compile=True)
    for seed in range(2):
        eager(inputs + seed, training=True, mask=mask)
        step(tf.constant(inputs + seed), training=True, mask=mask)
        for a, b in zip(compiled.weights, eager.weights, strict=True):
            np.testing.assert_allclose(
                a.numpy(), b.numpy(), rtol=1e-5, err_msg=a.path
            )
    assert compiled.initialized.numpy() == 1
    assert np.min(compiled.codebook) > 2, "nothing that was before"


@pytest.mark.parametrize("first_batch", ["data", "k_means"])
def test_replicas_begin_from_the_vectors_of_all(first_batch, strategy):
    for make in MAKERS.values():
        one = make(first_batch=first_batch)
        one.build((4, 5, 4))
        with strategy.scope():
            both = make(first_batch=first_batch)
            both.build((4, 5, 4))
        both.set_weights(one.get_weights())
        inputs = normal(4, 5, 4)
        mask = np.ones((4, 5), "bool")
        mask[2:, 1:] = False

        def half(array):
            return strategy.experimental_distribute_values_from_function(
                lambda context, array=array: tf.constant(
                    np.split(array, 2)[context.replica_id_in_sync_group]
                )
            )

        def run(inputs, mask, layer=both):
            layer(inputs, training=True, mask=mask)

        tf.function(strategy.run)(run, args=(half(inputs), half(mask)))
        one(inputs, training=True, mask=mask)
        assert one.initialized.numpy() == 1
        for a, b in zip(both.weights, one.weights, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
            first, second = strategy.experimental_local_results(a.value)
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_file_knows_whether_it_has_begun(make, is_begun, tmp_path):
    model = keras.Sequential([keras.Input((5, 4)), make(first_batch="k_means")])
    if is_begun:
        model(normal(4, 5, 4), training=True)
    model.save(tmp_path / "model.keras")
    other = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, other):
        each(normal(4, 5, 4, seed=1), training=True)
    for a, b in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)


def test_rejects_other_beginnings():
    with pytest.raises(ValueError) as error:
        VQ(6, first_batch="kmeans")
    assert str(error.value) == (
        "`first_batch` must be one of (None, 'data', 'k_means'). "
        "Received: first_batch='kmeans'."
    )

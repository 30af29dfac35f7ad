"""Tests of keras_xf.callbacks.CountInEvaluation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf import layers
from keras_xf.callbacks import CountInEvaluation

MAKERS = {
    "VQ": lambda: layers.VQ(4, name="codes"),
    "DVQ": lambda: layers.DVQ(2, name="codes"),
    "GumbelSoftmax": lambda: layers.GumbelSoftmax(
        4, divergence=0.3, name="codes"
    ),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def compiled(layer, **kwargs):
    # What follows is trained, where the layer has nothing for an optimizer.
    model = keras.Sequential(
        [keras.Input((5, 4)), layer, keras.layers.Dense(4)]
    )
    model.compile("sgd", "mse", **kwargs)
    return model


def assigned(function):
    graph = function.get_concrete_function(tf.TensorSpec((None, 5, 4))).graph
    graph = graph.as_graph_def()
    bodies = (graph.node, *(f.node_def for f in graph.library.function))
    return [node.op for body in bodies for node in body if "Assign" in node.op]


def perplexity(indices, num_codes):
    p = np.bincount(indices.reshape(-1), minlength=num_codes) / indices.size
    return np.exp(-np.sum(p[p > 0] * np.log(p[p > 0])))


@pytest.mark.parametrize(
    ("maker", "jit_compile"),
    [*((maker, False) for maker in MAKERS), ("DVQ", True)],
)
def test_an_evaluation_counts_its_own_data(maker, jit_compile):
    layer = MAKERS[maker]()
    model = compiled(layer, jit_compile=jit_compile)
    training, held_out = normal(8, 5, 4), normal(7, 5, 4, seed=1)
    model.fit(training, training, batch_size=4, verbose=0)
    # Compiled without it, and of nothing since.
    plain = model.evaluate(held_out, held_out, verbose=0, return_dict=True)
    before = [variable.numpy() for variable in layer.weights]
    for _ in range(2):
        logs = model.evaluate(
            held_out,
            held_out,
            batch_size=3,
            verbose=0,
            return_dict=True,
            callbacks=[CountInEvaluation()],
        )
        indices = layer.encode(held_out).numpy()
        if maker == "DVQ":
            expected = np.mean(
                [perplexity(indices[..., part], 2) for part in range(2)]
            )
            joint = layer.pack_indices(indices).numpy()
            np.testing.assert_allclose(
                logs["codes_joint_perplexity"], perplexity(joint, 4), rtol=1e-5
            )
            active = len(np.unique(joint))
            assert logs["codes_joint_active_codes"] == active
            assert np.isnan(plain["codes_joint_perplexity"])
        else:
            expected = perplexity(indices, 4)
            assert logs["codes_active_codes"] == len(np.unique(indices))
        np.testing.assert_allclose(
            logs["codes_perplexity"], expected, rtol=1e-5
        )
        layer(held_out)
        names = {
            "VQ": ["codes_codebook", "codes_commitment"],
            "DVQ": ["codes_commitment"],
            "GumbelSoftmax": ["codes_divergence"],
        }[maker]
        np.testing.assert_allclose(
            sum(logs[name] for name in names), layer.losses[0], rtol=1e-5
        )
        assert all(np.isnan(plain[name]) for name in names)
    for variable, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)


def test_validation_counts_and_the_training_beside_it_too():
    layer = layers.VQEMA(4, name="codes")
    layer.set_codebook(np.eye(4))
    model = compiled(layer)
    # Each of one code.
    training = np.tile(np.eye(4, dtype="float32")[:2], (4, 5, 1))[:, :5]
    validation = np.tile(np.eye(4, dtype="float32")[3], (4, 5, 1))
    history = model.fit(
        training,
        training,
        validation_data=(validation, validation),
        epochs=2,
        verbose=0,
        callbacks=[CountInEvaluation()],
    ).history
    assert history["val_codes_active_codes"] == [1, 1]
    assert history["codes_active_codes"] == [2, 2]
    np.testing.assert_allclose(history["val_codes_perplexity"], 1, rtol=1e-6)


def test_predictions_assign_nothing_after_it():
    layer = layers.SemanticHashing(3, noise_stddev=0.0, name="bits")
    model = compiled(layer)
    inputs = normal(8, 5, 4)
    logs = model.evaluate(
        inputs,
        inputs,
        verbose=0,
        return_dict=True,
        callbacks=[CountInEvaluation()],
    )
    p = layer.unpack_indices(layer.encode(inputs)).numpy().mean((0, 1))
    entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    np.testing.assert_allclose(
        logs["bits_bit_entropy"], entropy.mean(), rtol=1e-5
    )
    before = [variable.numpy() for variable in model.variables]
    model.predict(inputs, verbose=0)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    # What is traced now, as an export is.
    call = tf.function(lambda x: model(x, training=False))
    assert not assigned(call)
    layer.bit_usage.counts_in_evaluation = True
    assert assigned(tf.function(lambda x: model(x, training=False)))


def active(logs):
    return logs["codes_active_codes"]


def test_it_counts_after_the_model_was_compiled_again():
    model = compiled(layers.VQ(4, name="codes"))
    held_out = np.zeros((4, 5, 4), "float32")
    options = {"verbose": 0, "return_dict": True}
    callback = CountInEvaluation()
    for _ in range(2):
        # Of nothing counted: all codes.
        assert active(model.evaluate(held_out, held_out, **options)) == 4
        for _ in range(2):
            logs = model.evaluate(
                held_out, held_out, callbacks=[callback], **options
            )
            assert active(logs) == 1
        model.compile("sgd", "mse")


def test_an_evaluation_that_failed_leaves_no_trace():
    layer = layers.VQ(4, name="codes")
    model = compiled(layer)
    inputs = normal(8, 5, 4)
    callback = CountInEvaluation()

    class Failing(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        model.evaluate(
            inputs, inputs, verbose=0, callbacks=[callback, Failing()]
        )
    assert not layer.code_usage.counts_in_evaluation
    before = layer.code_usage.hits.numpy()
    model.predict(inputs, verbose=0)
    np.testing.assert_array_equal(layer.code_usage.hits.numpy(), before)
    assert not assigned(tf.function(lambda x: model(x, training=False)))
    model.fit(inputs, inputs, verbose=0, callbacks=[callback])
    logs = model.evaluate(inputs, inputs, verbose=0, return_dict=True)
    assert active(logs) == 4

"""Converted Reformers beside Hugging Face's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.convert import reformer_from_huggingface
from tests import recorded_arrays
from tests.convert.reformers import config_of
from tests.convert.reformers import lsh_layers
from tests.convert.reformers import rotations_of
from tests.recorded_arrays import assert_close
from tests.recorded_arrays import under

CASES = ("causal", "causal_learned", "masked")
LENGTHS = (3, 5, 20, 24)


@pytest.fixture(scope="module")
def recorded():
    return recorded_arrays.load("huggingface_reformer")


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_peers(recorded, case):
    arrays = under(recorded, case)
    model = reformer_from_huggingface(
        config_of(arrays),
        under(arrays, "weights"),
        rotations_of(under(arrays, "24")),
    )
    for length in LENGTHS:
        expected = under(arrays, str(length))
        # What is no longer than a chunk is not hashed.
        rotations = rotations_of(expected)
        assert len(rotations) == (0 if length == 3 else 2)
        for layer, array in zip(lsh_layers(model), rotations, strict=False):
            layer.rotations.assign(array)
        logits = model(
            {name: expected[name] for name in ("token_ids", "length")}
        )["logits"]
        is_real = np.arange(length) < expected["length"][:, None]
        assert_close(logits[is_real], expected["logits"][is_real])


def test_loss_and_gradients_equal_the_peers(recorded):
    arrays = under(recorded, "causal_learned")
    config = config_of(arrays)
    expected = under(arrays, "training")
    token_ids = expected["token_ids"]

    def convert(arrays):
        return reformer_from_huggingface(
            config, arrays, expected["rotations"], dtype="float64"
        )

    model = convert(under(arrays, "weights"))
    inputs = {
        "token_ids": token_ids,
        "length": np.full(len(token_ids), token_ids.shape[1], "int32"),
    }
    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)["logits"][:, :-1]
        loss = tf.reduce_mean(
            keras.ops.sparse_categorical_crossentropy(
                token_ids[:, 1:], logits, from_logits=True
            )
        )
    assert_close(loss, expected["loss"])
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    # Gradients go through the same transpositions as weights do.
    for variable, gradient, same in zip(
        variables,
        gradients,
        convert(under(expected, "gradients")).trainable_variables,
        strict=True,
    ):
        is_table = variable is model.get_layer("embedding").embeddings
        factor = config["hidden_size"] if is_table else 1
        assert_close(gradient, factor * same.numpy())

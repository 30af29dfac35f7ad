"""Converted Transformer-XLs, and the oracle, beside Hugging Face's own."""

import pytest
import tensorflow as tf

from keras_xf.convert import transformer_xl_from_huggingface
from tests import recorded_arrays
from tests.convert.transformer_xls import config_of
from tests.convert.transformer_xls import inputs_of
from tests.convert.transformer_xls import memory_of
from tests.convert.transformer_xls import oracle_options
from tests.convert.transformer_xls import oracle_weights
from tests.convert.transformer_xls import zeros
from tests.oracles import transformer_xl
from tests.recorded_arrays import assert_close
from tests.recorded_arrays import under

CASES = ("window", "norm_first", "one_bin", "one_table", "untied")
# Shorter than the memory of 8, and longer.
LENGTHS = (5, 11)


@pytest.fixture(scope="module")
def recorded():
    return recorded_arrays.load("huggingface_transformer_xl")


@pytest.mark.parametrize("case", CASES)
def test_the_oracle_equals_the_peer(recorded, case):
    arrays = under(recorded, case)
    config = config_of(arrays)
    weights = oracle_weights(config, under(arrays, "weights"))
    for length in LENGTHS:
        outputs = zeros(config)
        for number in range(2):
            expected = under(arrays, f"{length}/{number}")
            outputs = transformer_xl.model(
                weights,
                expected["token_ids"],
                outputs["memory"],
                **oracle_options(config),
            )
            assert_close(outputs["log_probs"], expected["log_probs"])
            assert_close(outputs["memory"], memory_of(expected))
            assert list(outputs["memory_length"]) == [8, 8]


@pytest.mark.parametrize("case", CASES)
def test_log_probs_and_memories_equal_the_peers(recorded, case):
    arrays = under(recorded, case)
    config = config_of(arrays)
    model = transformer_xl_from_huggingface(config, under(arrays, "weights"))
    for length in LENGTHS:
        outputs = zeros(config)
        for number in range(2):
            expected = under(arrays, f"{length}/{number}")
            outputs = model(inputs_of(expected["token_ids"], outputs))
            assert_close(outputs["log_probs"], expected["log_probs"])
            assert_close(outputs["memory"], memory_of(expected))
            assert list(outputs["memory_length"].numpy()) == [8, 8]


@pytest.mark.parametrize("case", ["window", "norm_first"])
def test_loss_and_gradients_equal_the_peers(recorded, case):
    arrays = under(recorded, case)
    config = config_of(arrays)
    expected = under(arrays, "training")
    first, second = expected["token_ids"]

    def convert(arrays):
        return transformer_xl_from_huggingface(config, arrays, dtype="float64")

    model = convert(under(arrays, "weights"))
    memory = model(inputs_of(first, zeros(config, "float64")))
    with tf.GradientTape() as tape:
        log_probs = model(inputs_of(second, memory))["log_probs"][:, :-1]
        # The peer's targets are the inputs, of which it drops the first.
        loss = -tf.reduce_mean(
            tf.gather(log_probs, second[:, 1:], axis=-1, batch_dims=2)
        )
    assert_close(loss, expected["loss"])
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    # Gradients go through the same transpositions as weights do.
    for gradient, same in zip(
        gradients,
        convert(under(expected, "gradients")).trainable_variables,
        strict=True,
    ):
        assert_close(gradient, same.numpy())

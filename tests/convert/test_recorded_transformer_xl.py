"""Converted Transformer-XLs, and the oracle, beside Hugging Face's own."""

import numpy as np
import pytest

from tests import recorded_arrays
from tests.convert.transformer_xls import config_of
from tests.convert.transformer_xls import memory_of
from tests.convert.transformer_xls import oracle_options
from tests.convert.transformer_xls import oracle_weights
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
        memory = np.zeros((2, config["n_layer"], 8, config["d_model"]))
        for number in range(2):
            expected = under(arrays, f"{length}/{number}")
            outputs = transformer_xl.model(
                weights,
                expected["token_ids"],
                memory,
                **oracle_options(config),
            )
            memory = outputs["memory"]
            assert_close(outputs["log_probs"], expected["log_probs"])
            assert_close(memory, memory_of(expected))
            assert list(outputs["memory_length"]) == [8, 8]

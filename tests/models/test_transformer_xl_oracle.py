"""`build_transformer_xl` beside the oracle, a pair of positions at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.models import build_transformer_xl
from tests.models.transformer_xls import fill
from tests.models.transformer_xls import oracle_weights
from tests.oracles import transformer_xl
from tests.recorded_arrays import assert_close

SIZES = {
    "vocabulary_size": 17,
    "num_layers": 2,
    "hidden_dim": 8,
    "num_heads": 2,
    "key_dim": 3,
    "intermediate_dim": 10,
    "memory_length": 6,
}
CASES = {
    "growing": {},
    "window": {"attention_window": 4, "untied_biases": True},
    "clamped": {"clamp_length": 3, "attention_window": 7, "norm_first": True},
    "bins": {
        "cutoffs": (4, 9),
        "divisor": 2,
        "embedding_dim": 8,
        "tied_projections": (False, True, True),
        "norm_first": True,
        "epsilon": 1e-3,
    },
    "untied": {
        "cutoffs": (4, 9),
        "embedding_dim": 6,
        "tied_embeddings": False,
        "tied_projections": False,
    },
    "without memory": {"memory_length": 0, "attention_window": 3},
}
# Rows end anywhere, do not begin, or fill less or more than the memory.
LENGTHS = ([5, 2, 0], [3, 5, 5], [9, 1, 4], [9, 9, 8])


def options_of(options):
    """What of the builder's options the oracle has too."""
    names = ("attention_window", "clamp_length", "norm_first", "epsilon")
    return {name: options[name] for name in names if name in options}


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        *((case, "eager") for case in CASES),
        # Between them, all that a graph could do otherwise.
        *((c, m) for c in ("window", "bins") for m in ("graph", "xla")),
    ],
)
def test_segments_of_rows_that_end_anywhere(case, mode):
    options = {**SIZES, **CASES[case]}
    model = build_transformer_xl(**options)
    fill(model)
    weights = oracle_weights(model)
    call = model
    if mode != "eager":
        call = tf.function(model, jit_compile=mode == "xla")
    random = np.random.default_rng(0)
    size = options["memory_length"]
    state = {
        # What is not real is not to be seen, whatever it is.
        "memory": random.normal(size=(3, 2, size, 8)).astype("float32"),
        "memory_length": np.minimum([0, 2, 6], size).astype("int32"),
    }
    expected = state
    for lengths in LENGTHS:
        # A graph is made for one length.
        num_tokens = max(lengths) if mode == "eager" else 9
        token_ids = random.integers(17, size=(3, num_tokens), dtype="i4")
        length = np.array(lengths, "int32")
        outputs = call(
            {
                "token_ids": token_ids,
                "length": length,
                "memory": state["memory"],
                "memory_length": state["memory_length"],
            }
        )
        expected = transformer_xl.model(
            weights,
            token_ids,
            expected["memory"],
            expected["memory_length"],
            length,
            **options_of(options),
        )
        is_real = np.arange(num_tokens) < length[:, None]
        assert_close(
            outputs["log_probs"].numpy()[is_real],
            expected["log_probs"][is_real],
        )
        remembered = expected["memory_length"]
        np.testing.assert_array_equal(outputs["memory_length"], remembered)
        is_real = size - np.arange(size) <= remembered[:, None, None]
        is_real = np.broadcast_to(is_real, (3, 2, size))
        if size:
            assert_close(
                outputs["memory"].numpy()[is_real],
                expected["memory"][is_real],
            )
        state = {
            name: keras.ops.convert_to_numpy(outputs[name])
            for name in ("memory", "memory_length")
        }

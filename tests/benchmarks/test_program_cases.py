"""Tests of the layers of attention among benchmarks.program_cases."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.attention_layers import build_attention
from benchmarks.program_cases import CASES
from benchmarks.program_cases import lower_case

SIZES = {
    "hidden_dim": 8,
    "num_heads": 2,
    "chunk_length": 8,
    "batch_size": 1,
    "length": 32,
    "dtype": "float32",
}


@pytest.mark.parametrize("kind", ["dense", "lsh_2"])
def test_a_layer_is_computed_with_its_gradients(kind):
    settings = CASES[f"{kind}_training"](SIZES)
    values, inputs, upstream = settings["arguments"]
    outputs, gradients = settings["function"](values, inputs, upstream)
    # Inputs, and each kernel: the values begin with them.
    num_kernels = {"dense": 2, "lsh_2": 3}[kind]
    assert len(gradients) == 1 + num_kernels
    for value, gradient in zip(
        [inputs, *values[:num_kernels]], gradients, strict=True
    ):
        assert gradient.shape == value.shape
        assert np.abs(gradient).max() > 0
    assert outputs.shape == inputs.shape
    if kind == "dense":
        np.testing.assert_allclose(
            CASES["dense_forward"](SIZES)["function"](values, inputs), outputs
        )
        # That of a layer itself, with the same weights.
        layer, attend = build_attention("dense", SIZES)
        layer.set_weights([np.asarray(value) for value in values[:2]])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(attend(inputs, training=True) * upstream)
        expected = tape.gradient(
            loss, [weight.value for weight in layer.trainable_weights]
        )
        for ours, theirs in zip(gradients[1:], expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_lsh_attention_lowers_for_gpu():
    program = lower_case("lsh_2_training", SIZES, "GPU")
    assert program.name == "lsh_2_training_gpu_32"
    assert program.notes["num_hashes"] == 2
    assert (
        program.notes["flops"]
        > CASES["lsh_1_training"](SIZES)["notes"]["flops"]
    )
    # Sorted where the program runs.
    assert "stablehlo.sort" in program.text


def test_dense_attention_has_a_peer_on_torch():
    notes = CASES["dense_forward"](SIZES)["notes"]
    assert notes["torch_peer"] == {
        "script": "torch_attention",
        "case": "forward",
        "settings": {"implementation": "sdpa"},
    }
    half = {**SIZES, "dtype": "mixed_bfloat16"}
    assert "torch_peer" not in CASES["dense_forward"](half)["notes"]


def test_a_reformer_s_step_is_counted_by_hand():
    sizes = {
        **SIZES,
        "vocabulary_size": 7,
        "num_layers": 3,
        "intermediate_dim": 12,
        "num_hashes": 2,
        "feed_forward_chunk": 0,
        "dropout": 0.0,
    }
    # Three projections and two of the feed-forward; two rounds of hashing by
    # 4 directions, which have no gradients; each query with two chunks' keys
    # and values; logits of both streams.
    products = 3 * 8**2 + 2 * 8 * 12 + 2 * 2 * 16 * 8
    forward = 2 * 32 * (3 * products + 2 * 8 * 7)
    hashing = 3 * 2 * 32 * 2 * 8 * 4
    notes = CASES["reformer_step"](sizes)["notes"]
    assert notes["flops"] == 3 * forward + hashing


def test_a_quantizer_s_step_moves_its_codes():
    sizes = {**SIZES, "vocabulary_size": 6}
    settings = CASES["quantization_step"](sizes)
    values, _, upstream = settings["arguments"]
    outputs, gradient, new_values = settings["function"](*settings["arguments"])
    # Each output is a row of the codebook, the first weight.
    rows = np.reshape(outputs, (-1, sizes["hidden_dim"]))
    codes = np.reshape(values[0], (-1, sizes["hidden_dim"]))
    assert {tuple(row) for row in rows} <= {tuple(code) for code in codes}
    np.testing.assert_array_equal(gradient, upstream)
    assert np.abs(np.subtract(values[0], new_values[0])).max() > 1e-4
    rows = sizes["batch_size"] * sizes["length"]
    assert settings["notes"]["flops"] == 2 * rows * sizes["hidden_dim"] * 6

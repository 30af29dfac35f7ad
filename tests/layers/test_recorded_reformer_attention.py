"""Our Reformer attention beside Hugging Face's, with its weights."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import ChunkedSelfAttention
from keras_xf.layers import LSHSelfAttention
from tests import recorded_arrays
from tests.recorded_arrays import assert_close
from tests.recorded_arrays import under

NUM_HEADS, KEY_DIM, CHUNK_LENGTH = 2, 3, 4
# Chunks before and after, whether causal, and the mask.
COMMON = {
    "causal": (1, 0, True, "all"),
    "causal_right": (1, 0, True, "right"),
    "causal_left": (1, 0, True, "left"),
    "causal_odd": (1, 0, True, "odd"),
    "causal_wide": (2, 0, True, "middle"),
    "causal_wide_as_all": (4, 0, True, "right"),
    "causal_narrow": (0, 0, True, "all"),
    "both_ways": (1, 0, False, "all"),
    "both_ways_right": (1, 1, False, "right"),
    "both_ways_left": (1, 1, False, "left"),
    "both_ways_odd": (1, 1, False, "odd"),
    "both_ways_middle": (0, 1, False, "middle"),
    # Within one chunk.
    "short_all": (1, 0, True, "all"),
    "short_right": (1, 0, True, "right"),
}
NUM_BUCKETS = {"one": 4, "two": (2, 4), "four": 6}


@pytest.fixture(scope="module")
def recorded():
    return recorded_arrays.load("huggingface_attention")


def cases(kind):
    names = recorded_arrays.load("huggingface_attention")
    return sorted(
        {
            name.removeprefix(f"{kind}/").removesuffix("/outputs")
            for name in names
            if name.startswith(f"{kind}/") and name.endswith("/outputs")
        }
    )


def options_of(case):
    before, after, causal, mask = COMMON[case.split("/")[-1]]
    return mask, {
        "num_heads": NUM_HEADS,
        "key_dim": KEY_DIM,
        "chunk_length": 16 if "short" in case else CHUNK_LENGTH,
        "chunks_before": before,
        "chunks_after": after,
        "causal": causal,
        "reference_compatible": True,
        "dtype": "float64",
    }


def run(layer, variables, recorded, mask, expected):
    """Compares outputs and gradients where the mask is True."""
    is_real = recorded[f"masks/{mask}"]
    inputs = tf.constant(recorded["inputs"], "float64")
    upstream = tf.constant(recorded["upstream"] * is_real[..., None], "float64")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, padding_mask=None if mask == "all" else is_real)
    assert_close(outputs[is_real], expected["outputs"][is_real])
    sources = {name: variable.value for name, variable in variables.items()}
    gradients = tape.gradient(outputs, {"inputs": inputs, **sources}, upstream)
    return {name: np.asarray(array) for name, array in gradients.items()}


@pytest.mark.parametrize("case", cases("lsh"))
def test_lsh_equals_the_peer(recorded, case):
    expected = under(recorded, f"lsh/{case}")
    mask, options = options_of(case)
    options["num_buckets"] = (
        NUM_BUCKETS[case.split("/")[0]] if ("/" in case) else 4
    )
    if "rotations" in expected:
        options["num_hashes"] = expected["rotations"].shape[2]
        options["injected_rotations"] = True
    layer, float32_layer = (
        LSHSelfAttention(**{**options, "dtype": dtype})
        for dtype in ("float64", "float32")
    )
    for each in (layer, float32_layer):
        each.build((None, None, 8))
        if "rotations" in expected:
            each.rotations.assign(expected["rotations"])
        variables = {
            "query_key": each.query_key.kernel,
            "value": each.value.kernel,
            "output": each.output_projection.kernel,
        }
        for name, variable in variables.items():
            variable.assign(recorded[f"weights/{name}"].T)
        if each is layer:
            gradients = run(layer, variables, recorded, mask, expected)
    assert_close(gradients.pop("inputs"), expected["gradients/inputs"])
    for name, gradient in gradients.items():
        assert_close(gradient, expected[f"gradients/{name}"].T)
    is_real = recorded[f"masks/{mask}"]
    outputs, buckets = float32_layer(
        recorded["inputs"],
        padding_mask=None if mask == "all" else is_real,
        return_record=True,
    )
    assert_close(outputs[is_real], expected["outputs"][is_real])
    if "buckets" in expected:
        assert_buckets_equal(buckets, expected["buckets"], options, is_real)


@pytest.mark.parametrize("case", cases("local"))
def test_chunked_equals_the_peer(recorded, case):
    expected = under(recorded, f"local/{case}")
    mask, options = options_of(case)
    layer = ChunkedSelfAttention(**options)
    layer.build((None, None, 8))
    variables = {
        "query_key_value": layer.query_key_value.kernel,
        "output": layer.output_projection.kernel,
    }
    variables["query_key_value"].assign(
        side_by_side(under(recorded, "weights"))
    )
    variables["output"].assign(recorded["weights/output"].T)
    gradients = run(layer, variables, recorded, mask, expected)
    assert_close(gradients["inputs"], expected["gradients/inputs"])
    expected = under(expected, "gradients")
    assert_close(gradients["output"], expected["output"].T)
    assert_close(gradients["query_key_value"], side_by_side(expected))


def assert_buckets_equal(buckets, expected, options, is_real):
    # The peer counts on from round to round, and one more where padding is.
    num_buckets = np.prod(options["num_buckets"]) + (not is_real.all())
    rounds = num_buckets * np.arange(options["num_hashes"])
    is_real = np.broadcast_to(is_real[:, None, None], expected.shape)
    np.testing.assert_array_equal(
        np.asarray(buckets)[is_real],
        (expected - rounds[:, None])[is_real],
    )


def side_by_side(arrays):
    """The peer's three projections as ours, which stand within each head."""
    kernels = [
        arrays[name].T.reshape(-1, NUM_HEADS, KEY_DIM)
        for name in ("query", "key", "value")
    ]
    return np.concatenate(kernels, axis=-1).reshape(len(kernels[0]), -1)

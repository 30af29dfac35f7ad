"""VQEMA beside Sonnet's and vector-quantize-pytorch's, step by step."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import VQEMA
from tests.recorded_arrays import load


@pytest.mark.parametrize(
    ("recorded", "ema_init"),
    [
        (load("sonnet_vector_quantizer"), "zero_debias"),
        (load("vector_quantize_pytorch_steps"), "ones"),
    ],
    ids=["sonnet", "vector_quantize_pytorch"],
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_steps_are_those_of_the_peer(recorded, ema_init, jit_compile):
    layer = VQEMA(32, ema_init=ema_init, return_indices=True)
    layer.set_codebook(recorded["codes"])

    @tf.function(jit_compile=jit_compile)
    def step(vectors):
        outputs, indices = layer(vectors, training=True)
        (loss,) = layer.losses
        return outputs, indices, loss

    vectors = recorded["vectors"]
    results = []
    for number in range(len(recorded["indices"])):
        rows = (97 * number + np.arange(256)) % len(vectors)
        outputs, indices, loss = step(tf.constant(vectors[rows]))
        results.append((indices, loss))
        if "perplexities" in recorded:
            name = f"{layer.name}_perplexity"
            np.testing.assert_allclose(
                layer.code_usage.result()[name],
                recorded["perplexities"][number],
                rtol=1e-5,
            )
            layer.code_usage.reset_state()
    indices, losses = zip(*results, strict=True)
    np.testing.assert_array_equal(indices, recorded["indices"])
    np.testing.assert_allclose(losses, recorded["losses"], rtol=1e-5)
    np.testing.assert_allclose(outputs, recorded["quantized"], atol=2e-6)
    np.testing.assert_allclose(layer.codebook, recorded["new_codes"], atol=2e-6)
    np.testing.assert_allclose(layer.usage(), recorded["counts"], rtol=1e-5)

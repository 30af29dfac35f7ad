"""Layers of self-attention to compare: ours, LSH and dense, and Keras's own."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from unittest import mock

import keras

from keras_xf import layers
from keras_xf.ops import attention


def build_attention(
    implementation: str, sizes: Mapping
) -> tuple[keras.layers.Layer, Callable]:
    """Builds a causal layer without biases and dropout.

    Args:
        implementation: "lsh", "dense", which is what the library chooses for
            the length, "blockwise" or "plain", or "stock", Keras's own.
        sizes: `batch_size`, `length`, `hidden_dim`, `num_heads`, and for
            "lsh" `num_hashes` and `chunk_length`. May hold `dtype`.

    Returns:
        The pair of the layer and `call(inputs, training) -> outputs`.
    """
    heads, dtype = sizes["num_heads"], sizes.get("dtype")
    dim = sizes["hidden_dim"] // heads
    shape = (sizes["batch_size"], sizes["length"], sizes["hidden_dim"])
    if implementation == "stock":
        layer = keras.layers.MultiHeadAttention(
            heads, dim, use_bias=False, dtype=dtype
        )
        layer.build(shape, shape)
        return layer, lambda x, training: layer(
            x, x, use_causal_mask=True, training=training
        )
    if implementation == "lsh":
        layer = layers.LSHSelfAttention(
            heads,
            dim,
            chunk_length=sizes["chunk_length"],
            num_hashes=sizes["num_hashes"],
            causal=True,
            seed=0,
            dtype=dtype,
        )
    else:
        layer = layers.SelfAttention(
            heads, dim, causal=True, use_bias=False, dtype=dtype
        )
    layer.build(shape)
    form = FORMS.get(implementation)
    if form is None:
        return layer, lambda x, training: layer(x, training=training)

    def call(x, training):
        with mock.patch.object(attention, "attend", form):
            return layer(x, training=training)

    return layer, call


# Whatever the library would choose.
FORMS = {
    "blockwise": functools.partial(attention.attend, blockwise=True),
    "plain": functools.partial(attention.attend, blockwise=False),
}

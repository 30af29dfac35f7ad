"""A Reformer put together from layers, whose parts can be left out."""

from collections.abc import Mapping

import keras

from keras_xf import layers
from keras_xf.models.reversible_stack import axial_shape


def build_reformer(sizes: Mapping) -> keras.Model:
    """Builds a language model of reversible blocks.

    Args:
        sizes: `vocabulary_size`, `num_layers`, `hidden_dim`, `num_heads`,
            `intermediate_dim`, `length`, `dropout`, `dtype`; and what can be
            left out: `reversible`, whether activations are recomputed;
            `num_hashes` and `chunk_length` of LSH attention, where 0 hashes
            are dense attention; `feed_forward_chunk`, positions at once, where
            0 is all.

    Returns:
        A model from `token_ids`, int32 `(batch, length)`, to `logits`.
    """
    dim, dtype = sizes["hidden_dim"], sizes["dtype"]

    def sublayer(layer, name):
        return layers.Sublayer(
            layer, dropout=sizes["dropout"], dtype=dtype, name=name
        )

    blocks = [
        (
            sublayer(_attention(sizes), f"attention_{index}"),
            sublayer(_feed_forward(sizes), f"feed_forward_{index}"),
        )
        for index in range(sizes["num_layers"])
    ]
    token_ids = keras.Input((sizes["length"],), dtype="int32", name="token_ids")
    x = layers.TokenEmbedding(
        sizes["vocabulary_size"], dim, dtype=dtype, name="embedding"
    )(token_ids)
    x = layers.AxialPositionEmbedding(
        axial_shape(sizes["length"]),
        (dim // 4, dim - dim // 4),
        dtype=dtype,
        name="positions",
    )(x)
    streams = layers.ReversibleSequence(
        blocks, reversible=sizes["reversible"], name="blocks"
    )((x, x))
    x = keras.layers.Concatenate(dtype=dtype, name="streams")(list(streams))
    x = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="norm")(
        x
    )
    logits = keras.layers.Dense(
        sizes["vocabulary_size"], dtype=dtype, name="logits"
    )(x)
    return keras.Model({"token_ids": token_ids}, {"logits": logits})


def compile_reformer(model: keras.Model, jit_compile: bool = False) -> None:
    """Gives a model of `build_reformer` its loss and optimizer."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(1e-3),
        loss={"logits": loss},
        jit_compile=jit_compile,
    )


def _attention(sizes):
    heads, dtype = sizes["num_heads"], sizes["dtype"]
    dim = sizes["hidden_dim"] // heads
    if not sizes["num_hashes"]:
        return layers.SelfAttention(
            heads, dim, causal=True, use_bias=False, dtype=dtype
        )
    return layers.LSHSelfAttention(
        heads,
        dim,
        chunk_length=sizes["chunk_length"],
        num_hashes=sizes["num_hashes"],
        causal=True,
        dtype=dtype,
    )


def _feed_forward(sizes):
    width, dtype = sizes["intermediate_dim"], sizes["dtype"]
    if not sizes["feed_forward_chunk"]:
        return layers.FeedForward(width, dtype=dtype)
    return layers.ChunkedFeedForward(
        width, chunk_length=sizes["feed_forward_chunk"], dtype=dtype
    )

"""Weights of an ordinary attention and feed-forward, in one form."""

import keras
import numpy as np

from keras_xf.checks import check
from keras_xf.layers.cross_attention import CrossAttention
from keras_xf.layers.feed_forward import FeedForward
from keras_xf.layers.multi_head_layer import MultiHeadLayer
from keras_xf.layers.self_attention import SelfAttention


def read_attention(attention: keras.layers.Layer) -> tuple[dict, dict]:
    """Reads the projections of an attention.

    Args:
        attention: A built `SelfAttention`, `CrossAttention` or
            `keras.layers.MultiHeadAttention`.

    Returns:
        The options `num_heads`, `key_dim`, `value_dim`, `causal`, `dropout`
        and `use_bias`; and for "query", "key", "value" and "output_projection"
        a kernel, a matrix whose columns (rows of the last) are those of the
        first head, then of the second and so on, and a bias or None.

    Raises:
        ValueError: If it is another layer, is not built, or rotates.
    """
    kinds = (SelfAttention, CrossAttention, keras.layers.MultiHeadAttention)
    check(
        type(attention) in kinds,
        f"`attention` must be one of {[kind.__name__ for kind in kinds]}.",
        attention=type(attention).__name__,
    )
    check(attention.built, "`attention` must be built.", name=attention.name)
    check(
        not getattr(attention, "rotary", False),
        "`attention` must not rotate, as branches do not.",
        name=attention.name,
    )
    if not isinstance(attention, MultiHeadLayer):
        return _read_keras(attention)
    options = {
        name: getattr(attention, name)
        for name in (
            *("num_heads", "key_dim", "value_dim", "causal", "dropout"),
            "use_bias",
        )
    }
    weights = {}
    for name in ("query_key_value", "query", "key_value", "output_projection"):
        projection = getattr(attention, name, None)
        if projection is None:
            continue
        kernel, bias = _arrays(projection)
        if name in ("query", "output_projection"):
            weights[name] = (kernel, bias)
            continue
        # Of each head the query, the key and the value, then the next head's.
        parts = name.split("_")
        widths = {"query": attention.key_dim, "key": attention.key_dim}
        splits = np.cumsum([widths[part] for part in parts[:-1]])
        kernels = _split(kernel, attention.num_heads, splits)
        biases = [None] * len(parts)
        if bias is not None:
            biases = [
                each[0]
                for each in _split(bias[None], attention.num_heads, splits)
            ]
        weights |= {
            part: pair
            for part, *pair in zip(parts, kernels, biases, strict=True)
        }
    return options, weights


def read_feed_forward(feed_forward) -> tuple[dict, dict]:
    """Reads the projections of a feed-forward network.

    Args:
        feed_forward: A built `FeedForward`, or a pair of built
            `keras.layers.Dense`, of which the second has no activation.

    Returns:
        The options `intermediate_dim`, `activation` and `hidden_dropout`; and
        for "widen" and "narrow" a kernel and a bias, of zeros if there is none.

    Raises:
        ValueError: If it is something else, or is not built.
    """
    if isinstance(feed_forward, FeedForward):
        check(
            feed_forward.built,
            "`feed_forward` must be built.",
            name=feed_forward.name,
        )
        layers = (feed_forward.widen, feed_forward.narrow)
        activation, dropout = feed_forward.activation, feed_forward.dropout
    else:
        layers = tuple(feed_forward)
        names = [type(layer).__name__ for layer in layers]
        is_pair = len(layers) == 2 and all(
            isinstance(layer, keras.layers.Dense) and layer.built
            for layer in layers
        )
        check(
            is_pair,
            "`feed_forward` must be a built FeedForward or two built Dense.",
            feed_forward=names,
        )
        check(
            layers[1].activation is keras.activations.linear,
            "`feed_forward` must have no activation behind its second layer.",
            activation=layers[1].activation.__name__,
        )
        activation, dropout = layers[0].activation, 0.0
    weights = {}
    for name, layer in zip(("widen", "narrow"), layers, strict=True):
        kernel, bias = _arrays(layer)
        if bias is None:
            bias = np.zeros(kernel.shape[1], kernel.dtype)
        weights[name] = (kernel, bias)
    options = {
        "intermediate_dim": weights["widen"][0].shape[1],
        "activation": activation,
        "hidden_dropout": dropout,
    }
    return options, weights


def _read_keras(attention):
    config = attention.get_config()
    for name in ("use_gate", "sliding_window", "attention_axes"):
        value = config.get(name)
        # The axis of positions is what it takes where none are given.
        is_default = name == "attention_axes" and value in ((1,), [1])
        check(
            not value or is_default,
            f"`attention` must have no `{name}`, as branches have none.",
            **{name: value},
        )
    options = {
        name: config[name]
        for name in ("num_heads", "key_dim", "value_dim", "dropout", "use_bias")
    }
    weights = {}
    for name in ("query", "key", "value", "output"):
        kernel, bias = _arrays(getattr(attention, f"{name}_dense"))
        columns = kernel.shape[-1] if name == "output" else -1
        kernel = kernel.reshape(
            (-1, columns) if name == "output" else (len(kernel), columns)
        )
        bias = None if bias is None else bias.reshape(-1)
        weights["output_projection" if name == "output" else name] = (
            kernel,
            bias,
        )
    return {**options, "causal": False}, weights


def _arrays(projection):
    bias = projection.bias
    return (
        keras.ops.convert_to_numpy(projection.kernel),
        None if bias is None else keras.ops.convert_to_numpy(bias),
    )


def _split(matrix, num_heads, splits):
    """From columns by heads to those of each part, by heads."""
    rows = len(matrix)
    parts = np.split(matrix.reshape(rows, num_heads, -1), splits, axis=-1)
    return [part.reshape(rows, -1) for part in parts]

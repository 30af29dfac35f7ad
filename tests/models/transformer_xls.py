"""Weights of `build_transformer_xl` for tests/oracles/transformer_xl.py.

Of small models: a table that bins share is told of bin by bin.
"""

import itertools

import numpy as np


def oracle_weights(model):
    """Reads a model's weights."""
    layers = {layer.name: layer for layer in model.layers}
    embedding, softmax = layers["embedding"], layers["softmax"]
    edges = [0, *embedding.cutoffs, embedding.vocabulary_size]
    bins = list(itertools.pairwise(edges))

    def by_bins(tables):
        if len(tables) == len(bins):
            return tables
        return [tables[0][start:end] for start, end in bins]

    tables = by_bins(_arrays(embedding.tables))
    projections = _arrays(embedding.projections) or [None]
    if len(projections) < len(bins):
        projections = projections * len(bins)
    own = softmax.projections or [None] * len(bins)
    num_layers = model.input["memory"].shape[1]
    return {
        "tables": tables,
        "projections": projections,
        "softmax_tables": by_bins(_arrays(softmax.tables))
        if softmax.tables
        else tables,
        "softmax_projections": [
            shared if mine is None else mine.numpy()
            for mine, shared in zip(own, projections, strict=True)
        ],
        "softmax_biases": _arrays(softmax.biases),
        "cluster_kernel": softmax.bin_table.numpy() if bins[1:] else None,
        "cluster_bias": softmax.bin_bias.numpy() if bins[1:] else None,
        "layers": [_layer(layers, index) for index in range(num_layers)],
    }


def fill(model, seed=0, stddev=0.4):
    """Moves all that a model begins with, zeros and ones too."""
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        mean = 1.0 if variable.name == "gamma" else 0.0
        variable.assign(random.normal(mean, stddev, variable.shape))


def _layer(layers, index):
    attention = layers[f"attention_{index}"]
    feed_forward = layers[f"feed_forward_{index}"]
    layer, biases = attention.layer, layers.get("biases", attention.layer)
    heads = (layer.num_heads, layer.key_dim)
    dim = layer.query.kernel.shape[0]
    key_value = layer.key_value.kernel.numpy().reshape(dim, heads[0], -1)
    output = layer.output_projection.kernel.numpy()
    return {
        "query": layer.query.kernel.numpy().reshape(dim, *heads),
        "key": key_value[..., : layer.key_dim],
        "value": key_value[..., layer.key_dim :],
        "position": layer.position.kernel.numpy().reshape(dim, *heads),
        "output": output.reshape(layer.num_heads, -1, dim),
        "content_bias": biases.content_bias.numpy(),
        "position_bias": biases.position_bias.numpy(),
        "attention_norm": _arrays(attention.norm.weights),
        "widen": _arrays(feed_forward.layer.widen.weights),
        "narrow": _arrays(feed_forward.layer.narrow.weights),
        "feed_forward_norm": _arrays(feed_forward.norm.weights),
    }


def _arrays(variables):
    return [variable.numpy() for variable in variables]

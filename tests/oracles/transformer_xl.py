"""Transformer-XL one row, one position and one distance at a time, in float64.

Weights are a plain dict, in no library's layout:

- `tables`, `projections`: for each bin of the vocabulary an array `(size,
  embedding_dim)`, and one `(embedding_dim, dim)` or None where there is none.
- `softmax_tables`, `softmax_projections`, `softmax_biases`: the same of the
  softmax, whether tied or not, and `(size,)`.
- `cluster_kernel` `(clusters, embedding_dim)` and `cluster_bias` `(clusters,)`:
  of the bins behind the first, in the order of their ids; not read if there is
  one bin.
- `final_norm`, if there is one: scale and center of the normalization behind
  the last layer.
- `layers`: for each layer a dict of `query`, `key`, `position` `(dim,
  num_heads, key_dim)`, `value` `(dim, num_heads, value_dim)`, `output`
  `(num_heads, value_dim, dim)`, `content_bias`, `position_bias` `(num_heads,
  key_dim)`, and pairs: `attention_norm` and `feed_forward_norm` of scale and
  center, `widen` and `narrow` of kernel `(inputs, outputs)` and bias.
"""

import math

import numpy as np


def model(
    weights,
    token_ids,
    memory,
    memory_length=None,
    length=None,
    *,
    attention_window=None,
    clamp_length=None,
    norm_first=False,
    epsilon=1e-5,
):
    """A segment through the whole model.

    Args:
        weights: See above.
        token_ids: Integers `(batch, length)`.
        memory: Array `(batch, layers, memory_length, dim)`, right-aligned.
        memory_length: How many of its rows are real, `(batch,)`; all if None.
        length: How many tokens are real, `(batch,)`; all if None.
        attention_window: What a position sees, itself included; None: all.
        clamp_length: Greater distances look like this one; None: none do.
        norm_first: Whether normalization stands before the layers.
        epsilon: Of the normalization.

    Returns:
        A dict of `log_probs` `(batch, length, vocabulary_size)`, NaN at
        padding; `memory` like the given one, rows that are not real being
        zeros; and `memory_length` `(batch,)`.
    """
    batch, num_tokens = token_ids.shape
    size = memory.shape[2]
    if memory_length is None:
        memory_length = [size] * batch
    if length is None:
        length = [num_tokens] * batch
    vocabulary_size = sum(len(table) for table in weights["tables"])
    results = {
        "log_probs": np.full((batch, num_tokens, vocabulary_size), np.nan),
        "memory": np.zeros(memory.shape),
        "memory_length": np.zeros(batch, "int32"),
    }
    for row in range(batch):
        # Of a row, what is real and nothing else.
        old = np.asarray(memory[row], "float64")
        old = old[:, size - int(memory_length[row]) :]
        real = int(length[row])
        hidden = embed(weights, token_ids[row, :real])
        for index, layer in enumerate(weights["layers"]):
            new = update(old[index], hidden, size)
            results["memory"][row, index, size - len(new) :] = new
            hidden = block(
                layer,
                hidden,
                old[index],
                attention_window=attention_window,
                clamp_length=clamp_length,
                norm_first=norm_first,
                epsilon=epsilon,
            )
        if "final_norm" in weights:
            hidden = normalize(
                hidden,
                *(np.asarray(x, "float64") for x in weights["final_norm"]),
                epsilon,
            )
        results["log_probs"][row, :real] = log_probs(weights, hidden)
        results["memory_length"][row] = min(size, old.shape[1] + real)
    return results


def embed(weights, token_ids):
    """Vectors `(length, dim)` of ids `(length,)`, times the root of `dim`."""
    dim = weights["layers"][0]["output"].shape[-1]
    vectors = np.zeros((len(token_ids), dim))
    for number, token_id in enumerate(token_ids):
        bin_, place = _find(weights["tables"], int(token_id))
        vector = np.asarray(weights["tables"][bin_][place], "float64")
        projection = weights["projections"][bin_]
        if projection is not None:
            vector = vector @ np.asarray(projection, "float64")
        vectors[number] = math.sqrt(dim) * vector
    return vectors


def update(memory, inputs, size):
    """The last `size` rows of those that were remembered and these."""
    rows = [*memory, *inputs]
    rows = rows[max(len(rows) - size, 0) :]
    return np.reshape(rows, (len(rows), inputs.shape[-1]))


def block(
    layer,
    inputs,
    memory,
    *,
    attention_window=None,
    clamp_length=None,
    norm_first=False,
    epsilon=1e-5,
):
    """A layer over `inputs` `(length, dim)` and real rows of `memory`."""
    options = {
        "attention_window": attention_window,
        "clamp_length": clamp_length,
    }
    attention_norm, feed_forward_norm = (
        [np.asarray(array, "float64") for array in layer[name]]
        for name in ("attention_norm", "feed_forward_norm")
    )
    if norm_first:
        hidden = inputs + attend(
            layer,
            normalize(inputs, *attention_norm, epsilon),
            normalize(memory, *attention_norm, epsilon),
            **options,
        )
        return hidden + feed_forward(
            layer, normalize(hidden, *feed_forward_norm, epsilon)
        )
    hidden = normalize(
        inputs + attend(layer, inputs, memory, **options),
        *attention_norm,
        epsilon,
    )
    return normalize(
        hidden + feed_forward(layer, hidden), *feed_forward_norm, epsilon
    )


def attend(layer, inputs, memory, *, attention_window=None, clamp_length=None):
    """Attention of `inputs` `(length, dim)` over memory and themselves.

    Eq. of section 3.3 of the paper, a pair of positions at a time.
    """
    names = ("query", "key", "value", "position", "output")
    query, key, value, position, output = (
        np.asarray(layer[name], "float64") for name in names
    )
    content_bias = np.asarray(layer["content_bias"], "float64")
    position_bias = np.asarray(layer["position_bias"], "float64")
    sources = [*memory, *inputs]
    num_heads, key_dim = content_bias.shape
    results = np.zeros((len(inputs), output.shape[-1]))
    for target, vector in enumerate(inputs):
        queries = np.einsum("d,dhk->hk", vector, query)
        place = target + len(memory)
        scores, values = [], []
        for source, other in enumerate(sources[: place + 1]):
            distance = place - source
            if attention_window is not None and distance >= attention_window:
                continue
            if clamp_length is not None:
                distance = min(distance, clamp_length)
            keys = np.einsum("d,dhk->hk", other, key)
            encoding = sinusoid(distance, len(vector))
            positions = np.einsum("d,dhk->hk", encoding, position)
            scores.append(
                [
                    (
                        np.dot(queries[head] + content_bias[head], keys[head])
                        + np.dot(
                            queries[head] + position_bias[head],
                            positions[head],
                        )
                    )
                    / math.sqrt(key_dim)
                    for head in range(num_heads)
                ]
            )
            values.append(np.einsum("d,dhv->hv", other, value))
        weights = np.exp(log_softmax(np.transpose(scores)))
        seen = np.einsum("hs,shv->hv", weights, np.array(values))
        results[target] = np.einsum("hv,hvd->d", seen, output)
    return results


def sinusoid(distance, dim):
    """Sines of a distance, then its cosines."""
    angles = [
        distance / 10000 ** (2 * index / dim) for index in range(dim // 2)
    ]
    return np.concatenate([np.sin(angles), np.cos(angles)])


def feed_forward(layer, inputs):
    (widen, widen_bias), (narrow, narrow_bias) = (
        [np.asarray(array, "float64") for array in layer[name]]
        for name in ("widen", "narrow")
    )
    hidden = np.maximum(inputs @ widen + widen_bias, 0)
    return hidden @ narrow + narrow_bias


def normalize(inputs, gamma, beta, epsilon):
    """Layer normalization."""
    centered = inputs - np.mean(inputs, axis=-1, keepdims=True)
    variance = np.mean(centered**2, axis=-1, keepdims=True)
    return centered / np.sqrt(variance + epsilon) * gamma + beta


def log_probs(weights, hidden):
    """Logarithms `(length, vocabulary_size)`, tokens in the order of ids."""
    tables = weights["softmax_tables"]
    names = ("softmax_tables", "softmax_projections", "softmax_biases")
    bins = []
    for table, projection, bias in zip(
        *(weights[name] for name in names), strict=True
    ):
        vectors = hidden
        if projection is not None:
            vectors = hidden @ np.asarray(projection, "float64").T
        if not bins and len(tables) > 1:
            table = np.concatenate([table, weights["cluster_kernel"]])
            bias = np.concatenate([bias, weights["cluster_bias"]])
        bins.append(log_softmax(vectors @ np.transpose(table) + bias))
    first = len(tables[0])
    columns = [bins[0][:, :first]]
    for number, within in enumerate(bins[1:]):
        columns.append(bins[0][:, first + number][:, None] + within)
    return np.concatenate(columns, axis=-1)


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    logits = logits - np.max(logits, axis=-1, keepdims=True)
    return logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))


def _find(tables, token_id):
    """The bin of a token, and its place there."""
    for number, table in enumerate(tables):
        if token_id < len(table):
            return number, token_id
        token_id -= len(table)
    raise IndexError(token_id)

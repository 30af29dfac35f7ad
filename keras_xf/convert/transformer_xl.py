"""Transformer-XL language models of Hugging Face's transformers."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_xf.checks import check
from keras_xf.convert import transformer_xl_config
from keras_xf.convert.state_dict import take_arrays
from keras_xf.convert.state_dict import take_one
from keras_xf.models import build_transformer_xl

# Computed, not learned, but saved.
_CONSTANTS = ("pos_emb.inv_freq",)


def transformer_xl_from_huggingface(
    config: Mapping,
    state_dict: Mapping[str, np.ndarray],
    *,
    memory_length: int | None = None,
    reversed_clusters: bool = False,
    dtype: str | None = None,
) -> keras.Model:
    """Builds the equal of a `TransfoXLLMHeadModel`, with its weights.

    Nothing but NumPy arrays is needed; where transformers is installed, they
    come from a model of its by

    >>> config, state_dict = model.config.to_dict(), {
    ...     name: tensor.numpy() for name, tensor in model.state_dict().items()
    ... }

    Log-probabilities and memories equal the peer's to rounding. Where the peer
    is given no `mems`, it attends to a memory of zeros: `memory` of zeros and
    a `memory_length` of the full size. Its `mems` are by layers and by time,
    `(layers, memory_length, batch, dim)` when stacked; ours are `(batch,
    layers, memory_length, dim)`.

    The authors' own PyTorch release has the same names and, from its
    arguments, the same configuration, but for `untie_r`, which is False there.
    It counts the clusters from the last, so `reversed_clusters` must be True;
    and it begins with no memory at all, a `memory_length` of 0.

    Args:
        config: Values by the names of `TransfoXLConfig`, which has defaults for
            what is left out. Names that do not matter are ignored.
        state_dict: Arrays by the peer's names, with or without "transformer."
            before those of the body. What the peer shares may be there under
            both its names or under one.
        memory_length: Positions to remember instead of the configuration's
            `mem_len`; with `same_length` it is what a position sees, too, as
            after the peer's `reset_memory_length`.
        reversed_clusters: Whether the first row of `crit.cluster_weight` is of
            the last cluster.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model as of `build_transformer_xl`, from a dict of `token_ids`,
        `length`, `memory` and `memory_length` to a dict of `log_probs`,
        `memory` and `memory_length`.

    Raises:
        ValueError: If the configuration asks for what cannot be converted, or
            if arrays are missing, left over, of other shapes, or two where the
            peer has one.
    """
    if memory_length is not None:
        config = {**config, "mem_len": memory_length}
    config = transformer_xl_config.complete(config)
    arrays = _strip(state_dict)
    for name, other in transformer_xl_config.second_names(config):
        take_one(arrays, name, other)
    arrays = take_arrays(arrays, transformer_xl_config.array_shapes(config))
    if reversed_clusters and config["cutoffs"]:
        for name in ("crit.cluster_weight", "crit.cluster_bias"):
            arrays[name] = arrays[name][::-1]
    return assemble(
        config, arrays, transformer_xl_config.builder_arguments(config), dtype
    )


def assemble(
    config: Mapping,
    arrays: Mapping[str, np.ndarray],
    arguments: Mapping,
    dtype: str | None,
) -> keras.Model:
    """Builds a model and fills it.

    Args:
        config: What `transformer_xl_config.complete` returned.
        arrays: Arrays by the names of `transformer_xl_config.array_shapes`.
        arguments: Arguments of `build_transformer_xl`.
        dtype: Another of these.
    """
    model = build_transformer_xl(**arguments, dtype=dtype)
    for variable, array in _pairs(model, arrays, config):
        variable.assign(array)
    return model


def _strip(state_dict):
    """Names without the prefix, and without what is no weight."""
    names = [name for name in state_dict if not name.endswith(_CONSTANTS)]
    arrays = {
        name.removeprefix("transformer."): state_dict[name] for name in names
    }
    check(
        len(arrays) == len(names),
        '`state_dict` must have no name both with and without "transformer.".',
        names=sorted(
            name for name in names if f"transformer.{name}" in state_dict
        ),
    )
    return arrays


def _pairs(model, arrays, config):
    """The model's variables, each with what is assigned to it."""
    layers = {layer.name: layer for layer in model.layers}
    embedding = layers["embedding"]
    for index, variable in enumerate(embedding.tables):
        yield variable, arrays[f"word_emb.emb_layers.{index}.weight"]
    for index, variable in enumerate(embedding.projections):
        yield variable, arrays[f"word_emb.emb_projs.{index}"].T
    if not config["untie_r"]:
        yield from _bias_pairs(layers["biases"], arrays)
    for index in range(config["n_layer"]):
        residual = layers[f"attention_{index}"]
        attention = _under(arrays, f"layers.{index}.dec_attn")
        yield from _norm_pairs(residual.norm, attention)
        yield from _attention_pairs(residual.layer, attention, config)
        residual = layers[f"feed_forward_{index}"]
        feed_forward = _under(arrays, f"layers.{index}.pos_ff")
        yield from _norm_pairs(residual.norm, feed_forward)
        for dense, name in (
            (residual.layer.widen, "CoreNet.0"),
            (residual.layer.narrow, "CoreNet.3"),
        ):
            yield dense.kernel, feed_forward[f"{name}.weight"].T
            yield dense.bias, feed_forward[f"{name}.bias"]
    yield from _softmax_pairs(layers["softmax"], _under(arrays, "crit"), config)


def _under(arrays, prefix):
    return {
        name.removeprefix(f"{prefix}."): array
        for name, array in arrays.items()
        if name.startswith(f"{prefix}.")
    }


def _norm_pairs(norm, arrays):
    yield norm.gamma, arrays["layer_norm.weight"]
    yield norm.beta, arrays["layer_norm.bias"]


def _bias_pairs(layer, arrays):
    yield layer.content_bias, arrays["r_w_bias"]
    yield layer.position_bias, arrays["r_r_bias"]


def _attention_pairs(layer, arrays, config):
    query, *key_value = np.split(arrays["qkv_net.weight"].T, 3, axis=1)
    # Keys and values stand side by side within each of our heads.
    key_value = np.stack(
        [
            kernel.reshape(len(kernel), config["n_head"], -1)
            for kernel in key_value
        ],
        axis=2,
    )
    yield layer.query.kernel, query
    yield layer.key_value.kernel, key_value.reshape(len(query), -1)
    yield layer.position.kernel, arrays["r_net.weight"].T
    yield layer.output_projection.kernel, arrays["o_net.weight"].T
    if config["untie_r"]:
        yield from _bias_pairs(layer, arrays)


def _softmax_pairs(layer, arrays, config):
    biases = [
        arrays[f"out_layers.{index}.bias"]
        for index in range(len(transformer_xl_config.table_shapes(config)))
    ]
    if len(biases) < len(layer.biases):
        # The peer has one for the one table.
        biases = np.split(biases[0], config["cutoffs"])
    yield from zip(layer.biases, biases, strict=True)
    if config["cutoffs"]:
        yield layer.bin_table, arrays["cluster_weight"]
        yield layer.bin_bias, arrays["cluster_bias"]
    for index, variable in enumerate(layer.tables):
        yield variable, arrays[f"out_layers.{index}.weight"]
    for index, variable in enumerate(layer.projections):
        if variable is not None:
            yield variable, arrays[f"out_projs.{index}"].T

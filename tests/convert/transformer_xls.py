"""What was recorded of Hugging Face's Transformer-XLs, for tests beside this.

Weights are transposed here anew, for the oracle, which shares no code with the
library.
"""

import itertools
import json

import numpy as np


def config_of(arrays):
    """The configuration of a recorded case."""
    return json.loads(bytes(arrays["config"].tolist()))


def memory_of(arrays):
    """The peer's memory, which is by layers and then by time, batch first."""
    return arrays["mems"].transpose(2, 0, 1, 3)


def zeros(config, dtype="float32"):
    """The memory that the peer begins with, of two rows."""
    size = config["mem_len"]
    return {
        "memory": np.zeros(
            (2, config["n_layer"], size, config["d_model"]), dtype
        ),
        "memory_length": np.full(2, size, "int32"),
    }


def inputs_of(token_ids, memory):
    """Inputs of a converted model, after what it last returned."""
    return {
        "token_ids": token_ids,
        "length": np.full(len(token_ids), token_ids.shape[1], "int32"),
        "memory": memory["memory"],
        "memory_length": memory["memory_length"],
    }


def oracle_options(config):
    """What a configuration is to the oracle."""
    return {
        "attention_window": config["mem_len"]
        if config["same_length"]
        else None,
        "clamp_length": config["clamp_len"]
        if config["clamp_len"] > 0
        else None,
        "norm_first": config["pre_lnorm"],
        "epsilon": config["layer_norm_epsilon"],
    }


def oracle_weights(config, arrays):
    """Weights as the oracle has them."""
    edges = [0, *config["cutoffs"], config["vocab_size"]]
    bins = list(itertools.pairwise(edges))

    def by_bins(name):
        """Tables or biases of bins, which are one array if not divided."""
        if config["div_val"] != 1:
            return [arrays[name.format(i)] for i in range(len(bins))]
        return [arrays[name.format(0)][start:end] for start, end in bins]

    projections = [
        arrays.get(
            f"transformer.word_emb.emb_projs.{i * (config['div_val'] != 1)}"
        )
        for i in range(len(bins))
    ]
    softmax_projections = [
        arrays.get(f"crit.out_projs.{i}") for i in range(len(bins))
    ]
    return {
        "tables": by_bins("transformer.word_emb.emb_layers.{}.weight"),
        "projections": [p if p is None else p.T for p in projections],
        "softmax_tables": by_bins("crit.out_layers.{}.weight"),
        "softmax_projections": [
            p if p is None else p.T for p in softmax_projections
        ],
        "softmax_biases": by_bins("crit.out_layers.{}.bias"),
        "cluster_kernel": arrays.get("crit.cluster_weight"),
        "cluster_bias": arrays.get("crit.cluster_bias"),
        "layers": [
            _layer(config, arrays, f"transformer.layers.{i}")
            for i in range(config["n_layer"])
        ],
    }


def _layer(config, arrays, name):
    dim = config["d_model"]
    heads = (config["n_head"], config["d_head"])
    attention, feed_forward = f"{name}.dec_attn", f"{name}.pos_ff"
    query, key, value = arrays[f"{attention}.qkv_net.weight"].reshape(
        3, *heads, dim
    )
    return {
        "query": np.moveaxis(query, -1, 0),
        "key": np.moveaxis(key, -1, 0),
        "value": np.moveaxis(value, -1, 0),
        "position": arrays[f"{attention}.r_net.weight"].T.reshape(dim, *heads),
        "output": arrays[f"{attention}.o_net.weight"].T.reshape(*heads, dim),
        "content_bias": arrays[f"{attention}.r_w_bias"],
        "position_bias": arrays[f"{attention}.r_r_bias"],
        "attention_norm": _pair(arrays, f"{attention}.layer_norm"),
        "widen": _pair(arrays, f"{feed_forward}.CoreNet.0"),
        "narrow": _pair(arrays, f"{feed_forward}.CoreNet.3"),
        "feed_forward_norm": _pair(arrays, f"{feed_forward}.layer_norm"),
    }


def _pair(arrays, name):
    return arrays[f"{name}.weight"].T, arrays[f"{name}.bias"]

"""What a configuration of Hugging Face's Transformer-XL says."""

import itertools
from collections.abc import Mapping

from keras_xf.checks import as_integer
from keras_xf.checks import check

# The peer's own defaults, those of the model of WikiText-103: its files leave
# out what is like them.
DEFAULTS = {
    "attn_type": 0,
    "clamp_len": 1000,
    "cutoffs": (20000, 40000, 200000),
    "d_embed": 1024,
    "d_head": 64,
    "d_inner": 4096,
    "d_model": 1024,
    "div_val": 4,
    "dropatt": 0.0,
    "dropout": 0.1,
    "layer_norm_epsilon": 1e-5,
    "mem_len": 1600,
    "model_type": "transfo-xl",
    "n_head": 16,
    "n_layer": 18,
    "pre_lnorm": False,
    "proj_share_all_but_first": True,
    "same_length": True,
    "sample_softmax": -1,
    # All but the first if `proj_share_all_but_first`.
    "tie_projs": None,
    "tie_word_embeddings": True,
    "untie_r": True,
    "vocab_size": 267735,
}
# Second names that the peer knows.
_ALIASES = {
    "hidden_size": "d_model",
    "n_token": "vocab_size",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
_SIZES = ("vocab_size", "d_model", "d_embed", "n_head", "d_head", "d_inner")
_SIZES += ("n_layer", "div_val")


def complete(config: Mapping) -> dict:
    """Adds the peer's defaults, and refuses what has no equal here.

    Args:
        config: Values by the peer's names.

    Returns:
        The values that matter to what is computed, by the peer's names.

    Raises:
        ValueError: If one cannot be converted.
    """
    config = {
        **{name: config[a] for a, name in _ALIASES.items() if a in config},
        **config,
    }
    config = {name: config.get(name, DEFAULTS[name]) for name in DEFAULTS}
    check(
        config["model_type"] == "transfo-xl",
        '`model_type` must be "transfo-xl".',
        model_type=config["model_type"],
    )
    for name in _SIZES:
        config[name] = as_integer(name, config[name])
    config["mem_len"] = as_integer("mem_len", config["mem_len"], least=0)
    _check_bins(config)
    check(
        config["attn_type"] == 0,
        "`attn_type` must be 0, attention by relative positions.",
        attn_type=config["attn_type"],
    )
    check(
        config["sample_softmax"] <= 0,
        "`sample_softmax` must not be positive: the softmax is whole.",
        sample_softmax=config["sample_softmax"],
    )
    check(
        config["d_model"] % 2 == 0,
        "`d_model` must be even.",
        d_model=config["d_model"],
    )
    # The peer's positions then see nothing, and so all alike, the future too.
    check(
        config["mem_len"] > 0 or not config["same_length"],
        "`mem_len` must be positive if `same_length`.",
        mem_len=config["mem_len"],
    )
    num_bins = len(config["cutoffs"]) + 1
    ties = config["tie_projs"]
    if ties is None:
        shared = bool(config["proj_share_all_but_first"])
        ties = [False] + [shared] * (num_bins - 1)
    check(
        len(ties) == num_bins,
        "`tie_projs` must have one entry for each bin.",
        tie_projs=ties,
        cutoffs=config["cutoffs"],
    )
    config["tie_projs"] = [bool(tie) for tie in ties]
    return config


def builder_arguments(config: Mapping) -> dict:
    """Arguments of `build_transformer_xl`.

    Args:
        config: What `complete` returned.
    """
    return {
        "vocabulary_size": config["vocab_size"],
        "num_layers": config["n_layer"],
        "hidden_dim": config["d_model"],
        "num_heads": config["n_head"],
        "key_dim": config["d_head"],
        "intermediate_dim": config["d_inner"],
        "activation": "relu",
        "dropout": config["dropout"],
        "attention_dropout": config["dropatt"],
        "memory_length": config["mem_len"],
        # The peer's positions see as many as it remembers, one less of them.
        "attention_window": config["mem_len"]
        if config["same_length"]
        else None,
        "clamp_length": config["clamp_len"]
        if config["clamp_len"] > 0
        else None,
        "norm_first": bool(config["pre_lnorm"]),
        "untied_biases": bool(config["untie_r"]),
        "cutoffs": config["cutoffs"],
        "embedding_dim": config["d_embed"],
        "divisor": config["div_val"],
        "tied_embeddings": bool(config["tie_word_embeddings"]),
        "tied_projections": config["tie_projs"],
        "epsilon": config["layer_norm_epsilon"],
    }


def array_shapes(config: Mapping) -> dict[str, tuple[int, ...]]:
    """Shapes of the peer's arrays by name, without "transformer.".

    What the peer has under two names, see `second_names`, is told of once.

    Args:
        config: What `complete` returned.
    """
    dim, intermediate_dim = config["d_model"], config["d_inner"]
    heads = (config["n_head"], config["d_head"])
    width = config["n_head"] * config["d_head"]
    shapes = {}
    for index, shape in enumerate(table_shapes(config)):
        shapes[f"word_emb.emb_layers.{index}.weight"] = shape
        shapes[f"crit.out_layers.{index}.bias"] = shape[:1]
        if not config["tie_word_embeddings"]:
            shapes[f"crit.out_layers.{index}.weight"] = shape
        if has_projections(config):
            shapes[f"word_emb.emb_projs.{index}"] = (dim, shape[1])
    for index, tied in enumerate(config["tie_projs"]):
        if has_projections(config) and not tied:
            shapes[f"crit.out_projs.{index}"] = (dim, widths(config)[index])
    num_clusters = len(config["cutoffs"])
    if num_clusters:
        shapes["crit.cluster_weight"] = (num_clusters, config["d_embed"])
        shapes["crit.cluster_bias"] = (num_clusters,)
    if not config["untie_r"]:
        shapes |= {"r_w_bias": heads, "r_r_bias": heads}
    for index in range(config["n_layer"]):
        attention = f"layers.{index}.dec_attn"
        feed_forward = f"layers.{index}.pos_ff"
        if config["untie_r"]:
            shapes[f"{attention}.r_w_bias"] = heads
            shapes[f"{attention}.r_r_bias"] = heads
        shapes |= {
            f"{attention}.qkv_net.weight": (3 * width, dim),
            f"{attention}.r_net.weight": (width, dim),
            f"{attention}.o_net.weight": (dim, width),
            f"{attention}.layer_norm.weight": (dim,),
            f"{attention}.layer_norm.bias": (dim,),
            f"{feed_forward}.CoreNet.0.weight": (intermediate_dim, dim),
            f"{feed_forward}.CoreNet.0.bias": (intermediate_dim,),
            f"{feed_forward}.CoreNet.3.weight": (dim, intermediate_dim),
            f"{feed_forward}.CoreNet.3.bias": (dim,),
            f"{feed_forward}.layer_norm.weight": (dim,),
            f"{feed_forward}.layer_norm.bias": (dim,),
        }
    return shapes


def second_names(config: Mapping) -> list[tuple[str, str]]:
    """Pairs of names of one array: that of `array_shapes`, and another.

    Args:
        config: What `complete` returned.
    """
    pairs = []
    if config["tie_word_embeddings"]:
        pairs += [
            (
                f"word_emb.emb_layers.{index}.weight",
                f"crit.out_layers.{index}.weight",
            )
            for index in range(len(table_shapes(config)))
        ]
    for index, tied in enumerate(config["tie_projs"]):
        if tied and has_projections(config):
            shared = 0 if config["div_val"] == 1 else index
            pairs.append(
                (f"word_emb.emb_projs.{shared}", f"crit.out_projs.{index}")
            )
    if not config["untie_r"]:
        pairs += [
            (bias, f"layers.{index}.dec_attn.{bias}")
            for index in range(config["n_layer"])
            for bias in ("r_w_bias", "r_r_bias")
        ]
    return pairs


def bin_sizes(config: Mapping) -> list[int]:
    """Numbers of tokens of the bins."""
    edges = (0, *config["cutoffs"], config["vocab_size"])
    return [b - a for a, b in itertools.pairwise(edges)]


def widths(config: Mapping) -> list[int]:
    """Widths of the embeddings of the bins."""
    return [
        config["d_embed"] // config["div_val"] ** index
        for index in range(len(config["cutoffs"]) + 1)
    ]


def table_shapes(config: Mapping) -> list[tuple[int, int]]:
    """Shapes of the tables: one for each bin, or a single one."""
    if config["div_val"] == 1:
        return [(config["vocab_size"], config["d_embed"])]
    return list(zip(bin_sizes(config), widths(config), strict=True))


def has_projections(config: Mapping) -> bool:
    """Whether embeddings are projected to the width of the model."""
    return config["div_val"] != 1 or config["d_embed"] != config["d_model"]


def _check_bins(config):
    cutoffs = [as_integer("cutoffs", cutoff) for cutoff in config["cutoffs"]]
    edges = [0, *cutoffs, config["vocab_size"]]
    check(
        all(a < b for a, b in itertools.pairwise(edges)),
        "`cutoffs` must increase and be less than `vocab_size`.",
        cutoffs=cutoffs,
        vocab_size=config["vocab_size"],
    )
    config["cutoffs"] = cutoffs
    check(
        widths(config)[-1] > 0,
        "`d_embed` must be wide enough to be divided by `div_val` once for "
        "each of the `cutoffs`.",
        d_embed=config["d_embed"],
        div_val=config["div_val"],
        cutoffs=cutoffs,
    )
    # The peer projects what is as wide as the model already.
    check(
        cutoffs
        or config["div_val"] == 1
        or config["d_embed"] != config["d_model"],
        "`div_val` must be 1 if there are no `cutoffs` and `d_embed` is "
        "`d_model`.",
        div_val=config["div_val"],
        d_embed=config["d_embed"],
    )

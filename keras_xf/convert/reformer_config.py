"""What a configuration of Hugging Face's Reformer says."""

import math
from collections.abc import Mapping

import keras

from keras_xf.checks import check
from keras_xf.ops import activations

# The peer's own defaults: its files leave out what is like them.
DEFAULTS = {
    "attention_head_size": 64,
    "attn_layers": ("local", "lsh", "local", "lsh", "local", "lsh"),
    "axial_pos_embds": True,
    "axial_pos_embds_dim": (64, 192),
    "axial_pos_shape": (64, 64),
    "chunk_size_feed_forward": 0,
    "feed_forward_size": 512,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.05,
    "hidden_size": 256,
    "is_decoder": False,
    "layer_norm_eps": 1e-12,
    "local_attention_probs_dropout_prob": 0.05,
    "local_attn_chunk_length": 64,
    "local_num_chunks_after": 0,
    "local_num_chunks_before": 1,
    "lsh_attention_probs_dropout_prob": 0.0,
    "lsh_attn_chunk_length": 64,
    "lsh_num_chunks_after": 0,
    "lsh_num_chunks_before": 1,
    "max_position_embeddings": 4096,
    "model_type": "reformer",
    "num_attention_heads": 12,
    "num_buckets": None,
    "num_hashes": 1,
    # As many as `attn_layers`.
    "num_hidden_layers": None,
    "pruned_heads": {},
    "tie_word_embeddings": False,
    "vocab_size": 320,
}
_APPROXIMATE_GELU = keras.activations.serialize(activations.approximate_gelu)
# Keras's own by the peer's names.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_accurate": _APPROXIMATE_GELU,
    "gelu_fast": _APPROXIMATE_GELU,
    "gelu_new": _APPROXIMATE_GELU,
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": _APPROXIMATE_GELU,
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
_KINDS = {"local": "chunked", "lsh": "lsh"}


def complete(config: Mapping) -> dict:
    """Adds the peer's defaults, and refuses what has no equal here.

    Args:
        config: Values by the peer's names.

    Returns:
        The values that matter to what is computed, by the peer's names.

    Raises:
        ValueError: If one cannot be converted.
    """
    config = {name: config.get(name, DEFAULTS[name]) for name in DEFAULTS}
    _check_layers(config)
    check(
        config["model_type"] == "reformer",
        '`model_type` must be "reformer".',
        model_type=config["model_type"],
    )
    check(
        config["hidden_act"] in ACTIVATIONS,
        f"`hidden_act` must be one of {sorted(ACTIVATIONS)}.",
        hidden_act=config["hidden_act"],
    )
    # The peer's table has vectors half as wide as what it would be tied to.
    check(
        not config["tie_word_embeddings"],
        "`tie_word_embeddings` must be False: the logits are of two streams.",
        tie_word_embeddings=config["tie_word_embeddings"],
    )
    check(
        not config["pruned_heads"],
        "`pruned_heads` must be empty.",
        pruned_heads=config["pruned_heads"],
    )
    if config["num_buckets"] is None:
        config["num_buckets"] = _num_buckets(config)
    return config


def builder_arguments(config: Mapping, injected_rotations: bool) -> dict:
    """Arguments of `build_reformer_language_model`.

    Args:
        config: What `complete` returned.
        injected_rotations: Whether rotations are given from outside.
    """
    num_buckets = config["num_buckets"]
    if isinstance(num_buckets, (tuple, list)):
        num_buckets = list(num_buckets)
    chunks = [
        config[f"{kind}_attn_chunk_length"] for kind in set(_layers(config))
    ]
    return {
        "vocabulary_size": config["vocab_size"],
        "hidden_dim": config["hidden_size"],
        "num_heads": config["num_attention_heads"],
        "key_dim": config["attention_head_size"],
        "attention": [_KINDS[kind] for kind in _layers(config)],
        "lsh": {
            **_attention_arguments(config, "lsh"),
            "num_hashes": config["num_hashes"],
            "num_buckets": num_buckets,
            "injected_rotations": injected_rotations,
        },
        "chunked": _attention_arguments(config, "local"),
        "causal": config["is_decoder"],
        "intermediate_dim": config["feed_forward_size"],
        "activation": ACTIVATIONS[config["hidden_act"]],
        "feed_forward_chunk_length": config["chunk_size_feed_forward"] or None,
        "dropout": config["hidden_dropout_prob"],
        "epsilon": config["layer_norm_eps"],
        **_position_arguments(config),
        "reference_compatible": True,
        # Chunks wrap around, so that what they see depends on how far the
        # peer pads.
        "length_multiple": math.lcm(*chunks),
        "longer_than": min(chunks),
    }


def array_shapes(config: Mapping) -> dict[str, tuple[int, ...]]:
    """Shapes of the peer's arrays by name, without "reformer.".

    Args:
        config: What `complete` returned.
    """
    dim, vocabulary_size = config["hidden_size"], config["vocab_size"]
    width = config["num_attention_heads"] * config["attention_head_size"]
    intermediate_dim = config["feed_forward_size"]
    shapes = {"embeddings.word_embeddings.weight": (vocabulary_size, dim)}
    positions = "embeddings.position_embeddings"
    if config["axial_pos_embds"]:
        sizes = config["axial_pos_shape"]
        for axis, axis_dim in enumerate(config["axial_pos_embds_dim"]):
            # Ones but at its own axis.
            shape = [1] * len(sizes)
            shape[axis] = sizes[axis]
            shapes[f"{positions}.weights.{axis}"] = (*shape, axis_dim)
    else:
        length = config["max_position_embeddings"]
        shapes[f"{positions}.embedding.weight"] = (length, dim)
    for index, kind in enumerate(_layers(config)):
        layer = f"encoder.layers.{index}"
        projections = {"lsh": ("query_key",), "local": ("query", "key")}[kind]
        for name in (*projections, "value"):
            shapes[f"{layer}.attention.self_attention.{name}.weight"] = (
                width,
                dim,
            )
        shapes |= {
            f"{layer}.attention.output.dense.weight": (dim, width),
            f"{layer}.feed_forward.dense.dense.weight": (intermediate_dim, dim),
            f"{layer}.feed_forward.dense.dense.bias": (intermediate_dim,),
            f"{layer}.feed_forward.output.dense.weight": (
                dim,
                intermediate_dim,
            ),
            f"{layer}.feed_forward.output.dense.bias": (dim,),
        }
        for part in ("attention", "feed_forward"):
            shapes[f"{layer}.{part}.layer_norm.weight"] = (dim,)
            shapes[f"{layer}.{part}.layer_norm.bias"] = (dim,)
    return {
        **shapes,
        "encoder.layer_norm.weight": (2 * dim,),
        "encoder.layer_norm.bias": (2 * dim,),
        "lm_head.decoder.weight": (vocabulary_size, 2 * dim),
        "lm_head.bias": (vocabulary_size,),
    }


def _num_buckets(config):
    """What the peer chooses for a sequence as long as there are positions."""
    size = config["lsh_attn_chunk_length"]
    length = most = config["max_position_embeddings"]
    if config["axial_pos_embds"]:
        length = math.prod(config["axial_pos_shape"])
    power = (2 * max(length // size, 1)).bit_length() - 1
    if 2**power <= 2 * max(math.isqrt(most // size), size):
        return 2**power
    return [2 ** (power // 2), 2 ** (power - power // 2)]


def _check_layers(config):
    kinds = _layers(config)
    check(
        len(kinds) > 0 and set(kinds) <= set(_KINDS),
        '`attn_layers` must be of "local" and "lsh".',
        attn_layers=config["attn_layers"],
    )
    check(
        config["num_hidden_layers"] in (None, len(kinds)),
        "`num_hidden_layers` must be the number of `attn_layers`.",
        num_hidden_layers=config["num_hidden_layers"],
        attn_layers=config["attn_layers"],
    )
    for kind in sorted(set(kinds)):
        name = f"{kind}_num_chunks_after"
        check(
            not (config["is_decoder"] and config[name]),
            f"`{name}` must be 0 if `is_decoder`.",
            **{name: config[name]},
        )
    if config["axial_pos_embds"]:
        shape, dims = config["axial_pos_shape"], config["axial_pos_embds_dim"]
        check(
            len(shape) == len(dims) and sum(dims) == config["hidden_size"],
            "`axial_pos_embds_dim` must add up to `hidden_size`, one for each "
            "axis of `axial_pos_shape`.",
            axial_pos_embds_dim=dims,
            axial_pos_shape=shape,
            hidden_size=config["hidden_size"],
        )


def _layers(config):
    return list(config["attn_layers"])


def _attention_arguments(config, kind):
    return {
        "chunk_length": config[f"{kind}_attn_chunk_length"],
        "chunks_before": config[f"{kind}_num_chunks_before"],
        "chunks_after": config[f"{kind}_num_chunks_after"],
        "dropout": config[f"{kind}_attention_probs_dropout_prob"],
    }


def _position_arguments(config):
    if not config["axial_pos_embds"]:
        return {
            "positions": "learned",
            "max_length": config["max_position_embeddings"],
        }
    return {
        "positions": "axial",
        "max_length": math.prod(config["axial_pos_shape"]),
        "axial_shape": list(config["axial_pos_shape"]),
        "axial_dims": list(config["axial_pos_embds_dim"]),
    }

"""Transformer-XL language models of the authors' TensorFlow release."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.convert import transformer_xl_config
from keras_xf.convert.state_dict import take_arrays
from keras_xf.convert.transformer_xl import assemble

# The release's own defaults of its flags.
DEFAULTS = {
    "clamp_len": -1,
    "cutoffs": (),
    "d_embed": 500,
    "d_head": 50,
    "d_inner": 1000,
    "d_model": 500,
    "div_val": 1,
    "dropatt": 0.1,
    "dropout": 0.1,
    "mem_len": 70,
    "n_head": 10,
    "n_layer": 6,
    "proj_same_dim": True,
    "proj_share_all_but_first": False,
    "same_length": False,
    "untie_r": False,
}
# What its normalization adds to variances.
EPSILON = 1e-12
# A checkpoint's names, or their ends, that are the optimizer's.
_SLOTS = ("/Adam", "/Adam_1")
_COUNTERS = ("global_step", "beta1_power", "beta2_power")
# What Hugging Face's port, which is PyTorch's, has the other way around.
_TRANSPOSED = ("/kernel", "/proj_W", "/proj")
_BODY = "transformer"
_EMBEDDING = f"{_BODY}/adaptive_embed"
_SOFTMAX = f"{_BODY}/adaptive_softmax"
# Of a layer, the release's names by those of Hugging Face's port.
_LAYER = {
    "dec_attn.qkv_net.weight": "rel_attn/qkv/kernel",
    "dec_attn.r_net.weight": "rel_attn/r/kernel",
    "dec_attn.o_net.weight": "rel_attn/o/kernel",
    "dec_attn.layer_norm.weight": "rel_attn/LayerNorm/gamma",
    "dec_attn.layer_norm.bias": "rel_attn/LayerNorm/beta",
    "pos_ff.CoreNet.0.weight": "ff/layer_1/kernel",
    "pos_ff.CoreNet.0.bias": "ff/layer_1/bias",
    "pos_ff.CoreNet.3.weight": "ff/layer_2/kernel",
    "pos_ff.CoreNet.3.bias": "ff/layer_2/bias",
    "pos_ff.layer_norm.weight": "ff/LayerNorm/gamma",
    "pos_ff.layer_norm.bias": "ff/LayerNorm/beta",
}


def transformer_xl_from_tensorflow(
    config: Mapping,
    variables: Mapping[str, np.ndarray],
    *,
    memory_length: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds the equal of a model of the authors' TensorFlow release.

    Nothing but NumPy arrays is needed; a checkpoint's are

    >>> reader = tf.train.load_checkpoint(path)
    >>> variables = {
    ...     name: reader.get_tensor(name)
    ...     for name in reader.get_variable_to_shape_map()
    ... }

    The release begins with a memory of zeros that is attended to: `memory` of
    zeros and a `memory_length` of the full size. With `same_length` a position
    sees one more than the memory holds, itself included; Hugging Face's port
    of the same weights sees one less, and adds 1e-5, not 1e-12, to variances.

    Args:
        config: Values by the names of the release's flags, which have defaults
            for what is left out, and `vocab_size` and `cutoffs` of its
            `corpus-info.json`; the first and the last token, which stand there
            too, may be left out. Names that do not matter are ignored.
        variables: Arrays by the names of the checkpoint. What the optimizer
            keeps is ignored.
        memory_length: Positions to remember instead of the flag `mem_len`.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model as of `build_transformer_xl`. Bins that are not projected,
        which are those as wide as the model without `proj_same_dim`, have the
        identity for a projection.

    Raises:
        ValueError: If the configuration asks for what cannot be converted, or
            if arrays are missing, left over or of other shapes.
    """
    if memory_length is not None:
        config = {**config, "mem_len": memory_length}
    flags, config = _read_flags(config)
    arrays = take_arrays(
        {
            name: array
            for name, array in variables.items()
            if not name.endswith(_SLOTS) and name not in _COUNTERS
        },
        _array_shapes(flags, config),
        argument="variables",
    )
    arguments = transformer_xl_config.builder_arguments(config)
    if flags["same_length"]:
        arguments["attention_window"] = config["mem_len"] + 1
    return assemble(config, _rename(arrays, flags, config), arguments, dtype)


def _read_flags(config):
    """The flags, and what they are to Hugging Face's port."""
    check(
        "vocab_size" in config,
        "`config` must have `vocab_size`.",
        config=sorted(config),
    )
    flags = {name: config.get(name, DEFAULTS[name]) for name in DEFAULTS}
    vocab_size = as_integer("vocab_size", config["vocab_size"])
    cutoffs = [
        cutoff for cutoff in flags["cutoffs"] if cutoff not in (0, vocab_size)
    ]
    check(
        cutoffs or flags["div_val"] == 1,
        "`div_val` must be 1 if there are no `cutoffs`.",
        div_val=flags["div_val"],
    )
    shared = bool(flags["proj_share_all_but_first"])
    # Without cutoffs, what stands for the one bin is not asked.
    ties = [False] + [shared] * len(cutoffs) if cutoffs else [True]
    return flags, transformer_xl_config.complete(
        {
            **flags,
            "vocab_size": vocab_size,
            "cutoffs": cutoffs,
            "tie_projs": ties,
            "layer_norm_epsilon": EPSILON,
            # Its window is another.
            "same_length": False,
        }
    )


def _array_shapes(flags, config):
    """Shapes of the release's arrays by name."""
    shapes = {}
    for name, shape in transformer_xl_config.array_shapes(config).items():
        shapes.update(_sources(name, shape, flags, config))
    return shapes


def _rename(arrays, flags, config):
    """The arrays of Hugging Face's port, in its layouts."""
    renamed = {}
    for name, shape in transformer_xl_config.array_shapes(config).items():
        parts = []
        for other in _sources(name, shape, flags, config):
            array = arrays[other]
            if other.endswith(_TRANSPOSED):
                array = array.T
            elif array.ndim > len(shape):
                # Of all layers.
                array = array[int(name.split(".")[1])]
            parts.append(array)
        renamed[name] = np.concatenate(parts) if parts else np.eye(shape[0])
    return renamed


def _sources(name, shape, flags, config):
    """Of which arrays of the release one of Hugging Face's port is made.

    Args:
        name: Its name there.
        shape: Its shape there.
        flags: What `_read_flags` returned.
        config: Likewise.

    Returns:
        Shapes by name; none for an identity.
    """
    kind, *rest = name.split(".")
    if kind == "crit":
        return _softmax_sources(rest, shape, flags, config)
    if kind == "word_emb":
        scope = _EMBEDDING
        if config["div_val"] != 1:
            scope = f"{scope}/cutoff_{rest[1]}"
        if rest[0] == "emb_layers":
            return {f"{scope}/lookup_table": shape}
        return _projection(f"{scope}/proj_W", shape, flags)
    if kind == "layers":
        index, part = int(rest[0]), ".".join(rest[1:])
        if part not in _LAYER:
            return {f"{_BODY}/{rest[-1]}": (config["n_layer"], *shape)}
        other = f"{_BODY}/layer_{index}/{_LAYER[part]}"
        return {other: shape[::-1] if other.endswith(_TRANSPOSED) else shape}
    return {f"{_BODY}/{name}": shape}


def _softmax_sources(rest, shape, flags, config):
    if rest[0] == "cluster_weight":
        return {f"{_SOFTMAX}/cutoff_0/cluster_W": shape}
    if rest[0] == "cluster_bias":
        return {f"{_SOFTMAX}/cutoff_0/cluster_b": shape}
    if rest[0] == "out_projs":
        return _projection(f"{_SOFTMAX}/cutoff_{rest[1]}/proj", shape, flags)
    if not config["cutoffs"]:
        return {f"{_SOFTMAX}/bias": shape}
    sizes = dict(enumerate(transformer_xl_config.bin_sizes(config)))
    if config["div_val"] != 1:
        sizes = {int(rest[1]): shape[0]}
    return {
        f"{_SOFTMAX}/cutoff_{index}/b": (size,) for index, size in sizes.items()
    }


def _projection(name, shape, flags):
    if shape[0] == shape[1] and not flags["proj_same_dim"]:
        return {}
    return {name: shape[::-1]}

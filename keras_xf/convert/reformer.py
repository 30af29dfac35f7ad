"""Reformer language models of Hugging Face's transformers."""

from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from keras_xf.checks import check
from keras_xf.convert import reformer_config
from keras_xf.convert.state_dict import take_arrays
from keras_xf.models import build_reformer_language_model
from keras_xf.models.reversible_stack import blocks_of

# Constants that older versions of the peer saved among the weights.
_CONSTANTS = ("mask_value_float16", "mask_value_float32")


def reformer_from_huggingface(
    config: Mapping,
    state_dict: Mapping[str, np.ndarray],
    rotations: np.ndarray | Sequence[np.ndarray] | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds the equal of a `ReformerModelWithLMHead`, with its weights.

    A `ReformerForMaskedLM`, which has the same arrays, is one that is no
    decoder. Nothing but NumPy arrays is needed; where transformers is
    installed, they come from a model of its by

    >>> config, state_dict = model.config.to_dict(), {
    ...     name: tensor.numpy() for name, tensor in model.state_dict().items()
    ... }

    The peer draws new rotations at each call, unless its `hash_seed` is set:
    two calls of it differ. The model's differ from it no less if `rotations`
    are not given, and equal its logits to rounding if they are those that it
    drew. A `num_buckets` of None becomes, in the peer, what suits the first
    input that it is given; here it becomes what it would there, had that been
    as long as there are positions for. In training nothing but dropout is
    different: the peer drops before the activation, and of positions other
    features than ours.

    Args:
        config: Values by the names of `ReformerConfig`, which has defaults for
            what is left out. Names that do not matter are ignored.
        state_dict: Arrays by the peer's names, with or without "reformer."
            before those of the body.
        rotations: What to hash with, an array `(num_attention_heads,
            attention_head_size, num_hashes, buckets / 2)`, where factors of
            `num_buckets` are added up: one for all LSH layers, or one each.
            Drawn by the layers if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model as of `build_reformer_language_model`, from a dict of
        `token_ids`, int32 `(batch, length)`, and `length`, int32 `(batch,)`,
        to a dict of `logits`. It takes any length that there are positions
        for.

    Raises:
        ValueError: If the configuration asks for what cannot be converted, or
            if arrays are missing, left over, or of other shapes.
    """
    config = reformer_config.complete(config)
    arrays = take_arrays(
        _strip(state_dict), reformer_config.array_shapes(config)
    )
    rotations = _spread(rotations, config)
    model = build_reformer_language_model(
        **reformer_config.builder_arguments(
            config, injected_rotations=rotations is not None
        ),
        dtype=dtype,
    )
    for variable, array in _pairs(model, arrays, config):
        variable.assign(array)
    if rotations is not None:
        layers = [f.layer for f, _ in blocks_of(model.get_layer("stack"))]
        layers = [layer for layer in layers if hasattr(layer, "rotations")]
        for layer, array in zip(layers, rotations, strict=True):
            layer.rotations.assign(array)
    return model


def _strip(state_dict):
    """Names without the prefix, and without what is told twice."""
    arrays = {
        name.removeprefix("reformer."): array
        for name, array in state_dict.items()
        if not name.endswith(_CONSTANTS)
    }
    check(
        len(arrays)
        == sum(not name.endswith(_CONSTANTS) for name in state_dict),
        '`state_dict` must have no name both with and without "reformer.".',
        names=sorted(
            name for name in state_dict if f"reformer.{name}" in state_dict
        ),
    )
    # One parameter under two names, of which some files hold only one.
    other = arrays.pop("lm_head.decoder.bias", None)
    if other is not None:
        bias = arrays.setdefault("lm_head.bias", other)
        check(
            np.array_equal(bias, other),
            "`state_dict` must have one bias under the names 'lm_head.bias' "
            "and 'lm_head.decoder.bias'.",
            difference=float(np.max(np.abs(np.subtract(bias, other)))),
        )
    return arrays


def _spread(rotations, config):
    """An array for each LSH layer, or None."""
    if rotations is None:
        return None
    num_layers = list(config["attn_layers"]).count("lsh")
    check(
        num_layers,
        "`rotations` must be None where `attn_layers` has no LSH layer.",
        attn_layers=config["attn_layers"],
    )
    rotations = (
        [np.asarray(rotations)] * num_layers
        if np.ndim(rotations[0]) == 3
        else [np.asarray(array) for array in rotations]
    )
    shape = (
        config["num_attention_heads"],
        config["attention_head_size"],
        config["num_hashes"],
        int(np.sum(config["num_buckets"])) // 2,
    )
    shapes = [array.shape for array in rotations]
    check(
        shapes == [shape] * num_layers,
        f"`rotations` must be an array {shape}, or one for each of "
        f"{num_layers} LSH layers.",
        shapes=shapes,
    )
    return rotations


def _pairs(model, arrays, config):
    """The model's variables, each with what is assigned to it."""
    layers = {layer.name: layer for layer in model.layers}
    dim = config["hidden_size"]
    # Ours multiplies by the root of the width.
    table = arrays["embeddings.word_embeddings.weight"] / np.sqrt(dim)
    yield layers["embedding"].embeddings, table
    yield from _position_pairs(layers["positions"], arrays)
    for index, (f, g) in enumerate(blocks_of(model.get_layer("stack"))):
        attention = _under(arrays, f"encoder.layers.{index}.attention")
        yield from _norm_pairs(f.norm, attention)
        yield from _attention_pairs(
            f.layer, attention, config["num_attention_heads"]
        )
        feed_forward = _under(arrays, f"encoder.layers.{index}.feed_forward")
        yield from _norm_pairs(g.norm, feed_forward)
        yield from _dense_pairs(g.layer.widen, feed_forward, "dense.dense")
        yield from _dense_pairs(g.layer.narrow, feed_forward, "output.dense")
    yield from _norm_pairs(layers["norm"], _under(arrays, "encoder"))
    yield layers["logits"].kernel, arrays["lm_head.decoder.weight"].T
    yield layers["logits"].bias, arrays["lm_head.bias"]


def _under(arrays, prefix):
    return {
        name.removeprefix(f"{prefix}."): array
        for name, array in arrays.items()
        if name.startswith(f"{prefix}.")
    }


def _position_pairs(layer, arrays):
    arrays = _under(arrays, "embeddings.position_embeddings")
    if "embedding.weight" in arrays:
        yield layer.embeddings, arrays["embedding.weight"]
        return
    for axis, variable in enumerate(layer.embeddings):
        yield variable, arrays[f"weights.{axis}"].reshape(variable.shape)


def _norm_pairs(norm, arrays):
    yield norm.gamma, arrays["layer_norm.weight"]
    yield norm.beta, arrays["layer_norm.bias"]


def _dense_pairs(dense, arrays, name):
    yield dense.kernel, arrays[f"{name}.weight"].T
    yield dense.bias, arrays[f"{name}.bias"]


def _attention_pairs(layer, arrays, num_heads):
    kernels = {
        name.removesuffix(".weight"): array.T
        for name, array in _under(arrays, "self_attention").items()
    }
    if "query_key" in kernels:
        yield layer.query_key.kernel, kernels["query_key"]
        yield layer.value.kernel, kernels["value"]
    else:
        # Ours stand side by side within each head.
        kernel = np.stack(
            [
                kernels[name].reshape(len(kernels[name]), num_heads, -1)
                for name in ("query", "key", "value")
            ],
            axis=2,
        )
        yield layer.query_key_value.kernel, kernel.reshape(len(kernel), -1)
    yield layer.output_projection.kernel, arrays["output.dense.weight"].T

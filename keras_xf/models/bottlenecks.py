"""Bottlenecks of models, by name and options that JSON can hold."""

import inspect
import math

import keras

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers import DVQ
from keras_xf.layers import VQ
from keras_xf.layers import VQEMA
from keras_xf.layers import GumbelSoftmax
from keras_xf.layers import Restart
from keras_xf.layers import SemanticHashing

LAYERS = {
    "vq_ema": VQEMA,
    "vq": VQ,
    "dvq": DVQ,
    "gumbel_softmax": GumbelSoftmax,
    "semantic_hashing": SemanticHashing,
}
# Their number itself must be an int32, for a server to compare with.
MOST_CODES = 2**30
# Arguments that the model sets.
_OF_THE_MODEL = ("num_codes", "num_bits", "return_indices", "seed", "kwargs")


def make_bottleneck(
    kind: str,
    num_codes: int,
    dim: int,
    options: dict | None = None,
    **kwargs,
) -> keras.layers.Layer:
    """Makes a bottleneck all of whose draws come from its seed.

    Args:
        kind: A key of `LAYERS`.
        num_codes: Number of codes that a vector may have: of all combinations
            of parts, of all patterns of bits.
        dim: Width of the vectors.
        options: Other arguments of the layer, by name. A `restart` is a dict
            of the arguments of `Restart`, an initializer or a schedule what
            Keras serializes one to.
        **kwargs: `name`, `dtype` and `seed` of the layer.

    Returns:
        The layer, not built.

    Raises:
        ValueError: If an argument is out of range or unknown, or the number of
            codes is not that of some codes a part, or of some bits.
    """
    check(
        isinstance(kind, str) and kind in LAYERS,
        f"`bottleneck` must be one of {tuple(LAYERS)}.",
        bottleneck=kind,
    )
    layer, options = LAYERS[kind], dict(options or {})
    known = inspect.signature(layer).parameters
    known = tuple(name for name in known if name not in _OF_THE_MODEL)
    check(
        set(options) <= set(known),
        f"`bottleneck_options` of {kind} must be of {known}.",
        bottleneck_options=sorted(options),
    )
    if isinstance(options.get("restart"), dict):
        options["restart"] = _restart(options["restart"])
    size = _size(kind, as_integer("num_codes", num_codes), dim, options)
    seed = kwargs.get("seed")
    options |= _seeded_initializers(layer, options, dim, seed)
    return layer(size, **options, **kwargs)


def _restart(options):
    known = tuple(inspect.signature(Restart).parameters)
    check(
        set(options) <= set(known),
        f"`restart` must have options of {known}.",
        restart=options,
    )
    return Restart(**options)


def _seeded_initializers(layer, options, dim, seed):
    """Initializers of a layer that draw the same for the same seed."""
    initializers = {}
    parameters = inspect.signature(layer).parameters
    for place, name in enumerate(
        ("kernel_initializer", "codebook_initializer")
    ):
        if name not in parameters:
            continue
        given = options.get(name, parameters[name].default)
        if given is None:
            given = _own_initializer(layer, options, dim)
        initializer = keras.initializers.get(given)
        config = getattr(initializer, "get_config", dict)()
        if seed is not None and config.get("seed", 0) is None:
            initializer = type(initializer).from_config(
                {**config, "seed": seed}
            )
            # Far from the places that the layer counts from here.
            initializer = own_draws(initializer, 100 * (place + 1))
        initializers[name] = initializer
    return initializers


def _own_initializer(layer, options, dim):
    """What a layer that is given none takes, which has no seed there."""
    if layer is GumbelSoftmax:
        return keras.initializers.RandomUniform(0, 1)
    parts = options.get("num_parts", 2) if layer is DVQ else 1
    limit = math.sqrt(3 * parts / dim)
    return keras.initializers.RandomUniform(-limit, limit)


def _size(kind, num_codes, dim, options):
    """The first argument of the layer."""
    if kind == "semantic_hashing":
        most = MOST_CODES.bit_length() - 1
        bits = num_codes.bit_length() - 1
        check(
            num_codes == 2**bits and 1 <= bits <= most,
            "`num_codes` must be a power of 2 for semantic_hashing, from 2 to "
            f"2**{most}.",
            num_codes=num_codes,
        )
        return bits
    if kind != "dvq":
        return num_codes
    parts = as_integer("num_parts", options.get("num_parts", 2))
    check(
        dim % parts == 0,
        "`num_parts` must divide `code_dim`.",
        num_parts=parts,
        code_dim=dim,
    )
    root = round(num_codes ** (1 / parts))
    check(
        num_codes == root**parts and num_codes <= MOST_CODES,
        "`num_codes` must be the codes of a part to the power of `num_parts`, "
        "and 2**30 at most.",
        num_codes=num_codes,
        num_parts=parts,
    )
    return root

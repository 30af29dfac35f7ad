"""Indices of codes as one number a vector, whatever a bottleneck writes."""

import keras

from keras_xf.checks import check
from keras_xf.layers.bottleneck_layer import BottleneckLayer
from keras_xf.layers.dvq import DVQ
from keras_xf.layers.semantic_hashing import SemanticHashing


def check_bottleneck(layer: keras.layers.Layer) -> None:
    """Checks that a layer writes vectors as codes.

    Raises:
        ValueError: If it is none of these layers.
    """
    check(
        isinstance(layer, BottleneckLayer),
        "`layer` must be one of VQ, VQEMA, DVQ, GumbelSoftmax and "
        "SemanticHashing.",
        layer=layer,
    )


def count_codes(layer: keras.layers.Layer) -> int:
    """How many numbers there are.

    Args:
        layer: A bottleneck: `VQ`, `VQEMA`, `DVQ`, `GumbelSoftmax` or
            `SemanticHashing`.

    Returns:
        The number of codes; with parts that of their combinations, with bits
        that of their patterns.
    """
    if isinstance(layer, SemanticHashing):
        return 2**layer.num_bits
    if isinstance(layer, DVQ):
        return layer.num_codes**layer.num_parts
    return layer.num_codes


def vector_dim(layer: keras.layers.Layer) -> int:
    """How wide the vectors are that a bottleneck reads from codes.

    Args:
        layer: The bottleneck, which is built.
    """
    if isinstance(layer, SemanticHashing):
        return layer.ones.shape[-1]
    parts, _, part_dim = layer.codes.shape
    return parts * part_dim


def pack(layer: keras.layers.Layer, indices):
    """Writes what `encode` of a bottleneck returns as one number a vector.

    Args:
        layer: The bottleneck.
        indices: What its `encode` returned.

    Returns:
        int32 tensor, without the axis for parts if there is one; the first
        part counts the least. -1 stays -1.
    """
    # Bits are packed already.
    return layer.pack_indices(indices) if isinstance(layer, DVQ) else indices


def unpack(layer: keras.layers.Layer, packed):
    """Makes of packed numbers what `decode_from_indices` takes.

    Args:
        layer: The bottleneck.
        packed: int32 tensor.

    Returns:
        int32 tensor, with an axis for parts behind if the layer has any.
    """
    return layer.unpack_indices(packed) if isinstance(layer, DVQ) else packed

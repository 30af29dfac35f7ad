"""What beam search over an encoder and a decoder cannot do without."""

from collections.abc import Mapping


def translation_flops(sizes: Mapping) -> float:
    """Operations of a translation with a cache.

    Args:
        sizes: `vocabulary_size`, `num_layers`, `hidden_dim`,
            `intermediate_dim`, `batch_size`, `source_length`, `length` and
            `num_beams`.
    """
    dim, layers = sizes["hidden_dim"], sizes["num_layers"]
    source, target = sizes["source_length"] + 1, sizes["length"]
    encoder, decoder, logits = _weights(sizes)
    # Keys and values of a source are projected once.
    encoded = source * (encoder + layers * 2 * dim**2)
    encoded += layers * 2 * source**2 * dim
    decoded = target * (decoder - layers * 2 * dim**2 + logits)
    decoded += layers * 2 * dim * (target * (target + 1) / 2 + target * source)
    rows = sizes["batch_size"]
    return 2.0 * rows * (encoded + sizes["num_beams"] * decoded)


def translation_bytes(sizes: Mapping) -> float:
    """Bytes that it moves: the decoder's weights, for each token of a row.

    Args:
        sizes: As in `translation_flops`.
    """
    _, decoder, logits = _weights(sizes)
    return 4.0 * sizes["length"] * (decoder + logits)


def _weights(sizes):
    dim, wide = sizes["hidden_dim"], sizes["intermediate_dim"]
    layers = sizes["num_layers"]
    return (
        layers * (4 * dim**2 + 2 * dim * wide),
        layers * (8 * dim**2 + 2 * dim * wide),
        sizes["vocabulary_size"] * dim,
    )

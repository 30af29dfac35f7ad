"""What evaluating a Transformer-XL cannot do without, by arithmetic.

Operations are those of products, bytes those of weights and of what is
remembered, in float32, each read once a call.
"""

from collections.abc import Mapping

from benchmarks.flops import causal_pairs
from benchmarks.flops import count_weights


def evaluation_flops(sizes: Mapping, method: str) -> float:
    """Operations of a call.

    Args:
        sizes: `vocabulary_size`, `num_layers`, `hidden_dim`,
            `intermediate_dim`, `length`, `segment_length` and `memory_length`.
        method: "memory", of keys and values, where the projected distances are
            kept, too; "hidden", of hidden states, which are projected again,
            and distances with them; "window", relative positions as well; or
            "absolute", a window without.
    """
    dim, layers = sizes["hidden_dim"], sizes["num_layers"]
    segment, memory = sizes["segment_length"], sizes["memory_length"]
    # The last position alone has its log-probabilities made.
    softmax = 2 * sizes["vocabulary_size"] * dim
    blocks = 2 * count_weights(sizes) - softmax
    # Logits by content and by distance, and averages.
    pair = 2 * 3 * layers * dim
    if method in ("window", "absolute"):
        length = sizes["length"]
        flops = blocks * length + softmax
        pairs = causal_pairs(1, length)
        if method == "absolute":
            return flops + pair * 2 / 3 * pairs
        return flops + pair * pairs + 2 * layers * length * dim**2
    # Each position sees as many as the memory is long.
    flops = (blocks + softmax + pair * memory) * segment
    if method == "memory":
        return flops
    again = 2 * memory + memory + segment
    return flops + 2 * layers * again * dim**2


def evaluation_bytes(sizes: Mapping, method: str) -> float:
    """Bytes that a call moves.

    Args:
        sizes: As in `evaluation_flops`.
        method: As there.
    """
    weights = count_weights(sizes) + (
        0
        if method in ("memory", "absolute")
        else sizes["num_layers"] * sizes["hidden_dim"] ** 2
    )
    # A window's activations are not remembered, and may stay in the caches.
    rows = {
        "memory": 2 * sizes["memory_length"] + sizes["length"],
        "hidden": sizes["memory_length"],
    }.get(method, 0)
    kept = rows * sizes["num_layers"] * sizes["hidden_dim"]
    return 4.0 * (weights + kept)

"""What a layer of causal self-attention cannot do without, by arithmetic.

A layer is projections of the inputs, attention of heads, and a projection of
what comes out, each as wide as the inputs. Operations are those of products;
bytes are those of float32 arrays as long as the sequence, once for each time
that one must be read or written. What is as wide as a chunk or a block fits
the caches, and need not pass memory.
"""

from collections.abc import Mapping

from benchmarks.flops import causal_pairs
from keras_xf.ops.lsh_hashing import bucket_factors

# Of a whole processor that is shared.
CACHE_BYTES = 16 * 2**20


def dense_flops(sizes: Mapping, training: bool = False) -> float:
    """Operations of dense attention.

    Args:
        sizes: `batch_size`, `length` and `hidden_dim`.
        training: Whether gradients are computed, too.
    """
    rows, dim = _rows(sizes), sizes["hidden_dim"]
    pairs = causal_pairs(sizes["batch_size"], sizes["length"])
    # Queries, keys, values and outputs; logits and averages.
    forward = 2 * rows * 4 * dim**2 + 4 * pairs * dim
    # Each product has two in the backward pass.
    return 3 * forward if training else forward


def lsh_flops(sizes: Mapping, training: bool = False) -> float:
    """Operations of LSH attention that looks one chunk back.

    Args:
        sizes: `batch_size`, `length`, `hidden_dim`, `num_heads`,
            `chunk_length` and `num_hashes`.
        training: Whether gradients are computed, too; hashing has none.
    """
    rows, dim = _rows(sizes), sizes["hidden_dim"]
    rounds = sizes["num_hashes"]
    # Queries are keys, too.
    products = 2 * rows * 3 * dim**2
    products += 4 * rounds * rows * 2 * sizes["chunk_length"] * dim
    factors = bucket_factors(sizes["length"], sizes["chunk_length"])
    hashing = 2 * rounds * rows * dim * sum(factors) // 2
    return hashing + (3 * products if training else products)


def dense_bytes(sizes: Mapping, training: bool = False) -> float:
    """Bytes that dense attention moves.

    Args:
        sizes: As in `dense_flops`.
        training: Whether gradients are computed, too.
    """
    # Inputs and outputs; queries, keys, values and what comes of them are
    # written and read.
    forward = 2 + 2 * 4
    # Inputs and the gradients of both ends; the four are read, and their
    # gradients written and read.
    backward = 3 + 4 + 2 * 4
    return _bytes(sizes, forward, backward, training)


def lsh_bytes(sizes: Mapping, training: bool = False) -> float:
    """Bytes that LSH attention moves.

    Args:
        sizes: As in `lsh_flops`.
        training: Whether gradients are computed, too.
    """
    rounds = sizes["num_hashes"]
    # Inputs and outputs; queries and values are written, and what comes of
    # them is read. A round gathers both and adds to what came of the rounds
    # before, which is there from the second on.
    forward = 2 + 3 + rounds * (2 + 2) - 1
    # Inputs, the gradients of both ends, what came out, and its gradient,
    # written here; the gradients of queries and values are read. A round
    # gathers both and the gradient of what came out, and adds to two.
    backward = 3 + 2 + 2 + rounds * (3 + 2 * 2) - 2
    return _bytes(sizes, forward, backward, training)


def _rows(sizes):
    return sizes["batch_size"] * sizes["length"]


def _bytes(sizes, forward, backward, training):
    array = 4 * _rows(sizes) * sizes["hidden_dim"]
    # Inputs, queries, values and what comes of them stay there.
    if 4 * array < CACHE_BYTES:
        return 0.0
    return float(array * (forward + backward if training else forward))

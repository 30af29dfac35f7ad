"""What all vector quantizers are given."""

import numpy as np


def vectors(sizes: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random vectors, a codebook, and a gradient of the outputs.

    Args:
        sizes: Holds `num_vectors`, `dim` and `num_codes`.

    Returns:
        Float32 arrays `(num_vectors, dim)`, `(num_codes, dim)` and
        `(num_vectors, dim)`.
    """
    random = np.random.default_rng(0)
    rows, dim = sizes["num_vectors"], sizes["dim"]
    return (
        random.standard_normal((rows, dim), np.float32),
        random.standard_normal((sizes["num_codes"], dim), np.float32),
        random.standard_normal((rows, dim), np.float32),
    )

"""What all layers of attention are given."""

import numpy as np


def attention_inputs(sizes: dict) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs of a layer, and a gradient of its outputs.

    Args:
        sizes: Holds `batch_size`, `length` and `hidden_dim`.

    Returns:
        Two float32 arrays `(batch_size, length, hidden_dim)`.
    """
    random = np.random.default_rng(0)
    shape = (sizes["batch_size"], sizes["length"], sizes["hidden_dim"])
    inputs, upstream = (
        random.standard_normal(shape, np.float32) for _ in range(2)
    )
    return inputs, upstream

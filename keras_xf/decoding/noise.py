"""Uniform noise that each row draws from a seed of its own."""

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.ops import stateless_random


def uniform_noise(seed, num_draws: int):
    """Draws from `[0, 1)`, each row by its own seed.

    Draw `t` of row `b` depends on `seed[b]` and `t` alone: neither on the
    other rows, nor on `num_draws`, nor on whether XLA compiles it.

    Args:
        seed: int32 or int64 tensor `(batch, 2)`.
        num_draws: Draws per row.

    Returns:
        Float32 tensor `(batch, num_draws)` of multiples of `2**-24`.

    Raises:
        ValueError: If `seed` has another shape.
    """
    seed = tf.convert_to_tensor(seed)
    check(
        seed.shape.rank == 2 and seed.shape[1] in (None, 2),
        "`seed` must have the shape (batch, 2).",
        shape=str(seed.shape),
    )
    return tf.map_fn(
        lambda row_seed: stateless_random.uniform(row_seed, [num_draws]),
        seed,
        fn_output_signature=tf.TensorSpec([num_draws], tf.float32),
    )

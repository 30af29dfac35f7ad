"""Orders of positions."""

import tensorflow as tf


def inverse_permutations(orders):
    """Inverts permutations.

    Args:
        orders: int32 tensor `(..., length)`, the position at each place.

    Returns:
        Tensor alike, the place of each position.
    """
    # A scatter is as fast as sorting, and compiled 20 times as fast.
    shape = tf.shape(orders)
    places = tf.broadcast_to(tf.range(shape[-1]), shape)
    starts = tf.range(tf.reduce_prod(shape[:-1])) * shape[-1]
    index = tf.reshape(orders, (-1, shape[-1])) + starts[:, None]
    inverse = tf.scatter_nd(
        tf.reshape(index, (-1, 1)),
        tf.reshape(places, (-1,)),
        tf.reshape(tf.size(orders), (1,)),
    )
    return tf.ensure_shape(tf.reshape(inverse, shape), orders.shape)

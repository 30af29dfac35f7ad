"""Lists of tensors that loops fill."""

import tensorflow as tf


def tensor_array(number, shape, dtype, after) -> tf.TensorArray:
    """Makes a list of zeros, once there is something to write into it.

    XLA makes a list that depends on no data early: those of all layers of a
    model would be there at once.

    Args:
        number: Number of tensors, an integer or a scalar tensor.
        shape: Shape of each, of integers and scalar tensors.
        dtype: Their dtype.
        after: A tensor of floats that what is written will be made from.

    Returns:
        The list.
    """
    known = [size if isinstance(size, int) else None for size in shape]
    array = tf.TensorArray(
        dtype, number, element_shape=known, clear_after_read=False
    )
    some = tf.reduce_sum(tf.reshape(after, (-1,))[:1])
    # Never, but no compiler knows.
    is_both = tf.logical_and(tf.math.is_inf(some), tf.math.is_nan(some))
    return array.unstack(tf.fill((number, *shape), tf.cast(is_both, dtype)))

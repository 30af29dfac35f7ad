"""Lists of tensors that loops fill."""

import tensorflow as tf


def tensor_array(number, shape, dtype, after) -> tf.TensorArray:
    """Makes a list to be filled, once there is something to fill it with.

    XLA makes a list that depends on no data early: those of all layers of a
    model would be there at once.

    Args:
        number: Number of tensors, an integer or a scalar tensor.
        shape: Shape of each, of integers and scalar tensors.
        dtype: Their dtype.
        after: A tensor of floats that what is written will be made from.

    Returns:
        The list. Every one of its tensors is to be written.
    """
    known = [size if isinstance(size, int) else None for size in shape]
    array = tf.TensorArray(dtype, number, element_shape=known)
    # No compiler takes it for a constant: it may be no number.
    nothing = 0 * tf.reduce_sum(tf.reshape(after, (-1,))[:1])
    return array.unstack(tf.fill((number, *shape), tf.cast(nothing, dtype)))

"""Sums over the replicas of a `tf.distribute` strategy."""

import tensorflow as tf


def sum_over_replicas(tensors):
    """Adds what each replica has, so that all have the same.

    Args:
        tensors: A tensor, or a nest of them.

    Returns:
        The same of sums; unchanged where there is one replica, or where the
        call is not a replica's.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def gather_over_replicas(tensor, axis: int):
    """Puts the tensors of all replicas side by side, so that all have the same.

    Args:
        tensor: A tensor; its size along the axis may differ.
        axis: Along which they are joined.

    Returns:
        A tensor; unchanged where there is one replica, or where the call is
        not a replica's.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_gather(tensor, axis=axis)


def replica_number():
    """The number of this replica, and how many there are.

    Returns:
        An integer, or where that is not known an int32 scalar tensor, and an
        integer.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        return 0, 1
    number = context.replica_id_in_sync_group
    static = tf.get_static_value(number)
    if static is not None:
        number = int(static)
    return number, context.num_replicas_in_sync

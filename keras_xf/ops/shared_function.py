"""Functions that are traced once for all parts of a graph that call them."""

import weakref
from collections.abc import Callable

import tensorflow as tf

_functions = weakref.WeakKeyDictionary()


def shared_function(function: Callable) -> Callable:
    """Makes the calls of a function in one graph share what is traced.

    What many layers of a model do in the same way is then traced, stored and
    optimized once, however many they are.

    Args:
        function: A function of tensors, and of other values that are compared
            by equality. Not a new one each time: it is what calls share.

    Returns:
        A function that computes the same. It belongs to the graph that is
        being made, and is freed with it.
    """
    of_graph = _functions.setdefault(tf.compat.v1.get_default_graph(), {})
    if function not in of_graph:
        of_graph[function] = tf.function(
            function,
            autograph=False,
            # Copied into each place, it would be optimized at each.
            experimental_attributes={"_noinline": True},
        )
    return of_graph[function]

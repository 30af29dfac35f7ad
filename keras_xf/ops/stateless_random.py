"""Random draws that depend on a seed alone, and can be drawn again.

What is computed twice, such as a block whose activations are rematerialized,
must draw the same numbers both times. A seed is an int32 tensor `(2,)`.
"""

import math

import tensorflow as tf
from keras import ops

# The default differs from device to device.
_ALGORITHM = "philox"


def draw(seed_generator):
    """Takes the next seed from a generator, which moves on by one.

    Args:
        seed_generator: A `keras.random.SeedGenerator`.

    Returns:
        A seed.
    """
    return ops.cast(seed_generator.next(), "int32")


def fold_in(seed, number):
    """Makes another seed of a seed and a number.

    Args:
        seed: A seed.
        number: Integer, or an integer tensor without axes.

    Returns:
        A seed; different numbers give independent ones.
    """
    number = ops.cast(number, "int32")
    return tf.random.fold_in(seed, number, alg=_ALGORITHM)


def uniform(seed, shape):
    """Draws from `[0, 1)`, each number as likely as any other.

    Args:
        seed: A seed, of int32 or int64.
        shape: Shape of the result, of numbers or of scalar tensors.

    Returns:
        Float32 tensor of multiples of `2**-24`. A shape with a longer first
        axis begins with the numbers that a shorter one has.
    """
    # The upper 24 of 32 bits fit a float32 exactly.
    bits = tf.bitwise.right_shift(_bits(seed, shape), tf.constant(8, tf.uint32))
    return ops.cast(bits, "float32") * 2.0**-24


def normal(seed, shape):
    """Draws from the standard normal distribution.

    Args:
        seed: A seed.
        shape: Shape of the result, of numbers or of scalar tensors.

    Returns:
        Float32 tensor. A shape with a longer first axis begins with the
        numbers that a shorter one has.
    """
    # The middles of 2**23 equal parts of (-1, 1), so that neither end is met.
    bits = tf.bitwise.right_shift(_bits(seed, shape), tf.constant(9, tf.uint32))
    uniform = (ops.cast(bits, "float32") + 0.5) * 2.0**-22 - 1.0
    return ops.erfinv(uniform) * math.sqrt(2.0)


def keep(seed, shape, rate: float):
    """Draws what a dropout keeps.

    Args:
        seed: A seed.
        shape: Shape of the result, of numbers or of scalar tensors.
        rate: Fraction that is dropped.

    Returns:
        Boolean tensor, False with a probability of `rate`.
    """
    # Comparing integers reads the bits once and makes no floats of them.
    return _bits(seed, shape) >= tf.constant(round(rate * 2**32), tf.uint32)


def _bits(seed, shape):
    # Integers, because XLA makes other floats than TensorFlow's kernels from
    # the same bits.
    return tf.random.stateless_uniform(
        shape, seed, None, None, tf.uint32, alg=_ALGORITHM
    )

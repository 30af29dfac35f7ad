"""Images of any size to squares of one."""

import numpy as np
import tensorflow as tf

from keras_xf.checks import as_integer


def fit_square(images: np.ndarray, image_size: int) -> np.ndarray:
    """Cuts the largest square out of the middle, and scales it to a size.

    Scaling is linear, and smooths first where it makes images smaller.

    Args:
        images: uint8 `(..., height, width, channels)`, with one axis in front
            or none.
        image_size: The size of both sides.

    Returns:
        uint8 `(..., image_size, image_size, channels)`.
    """
    image_size = as_integer("image_size", image_size)
    height, width = images.shape[-3:-1]
    if (height, width) == (image_size, image_size):
        return images
    # The other way round, what is cut off could be too large to scale.
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = images[..., top : top + shorter, left : left + shorter, :]
    with tf.device("CPU:0"):
        scaled = tf.image.resize(
            square, (image_size, image_size), "bilinear", antialias=True
        ).numpy()
    return np.rint(scaled).clip(0, 255).astype(np.uint8)

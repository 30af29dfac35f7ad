"""Images of any size to squares of one."""

import numpy as np
import tensorflow as tf

from keras_xf.checks import as_integer


def fit_square(images: np.ndarray, image_size: int) -> np.ndarray:
    """Scales the shorter side to a size, and cuts the middle out of the longer.

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
    shorter = min(height, width)
    new_height = round(height * image_size / shorter)
    new_width = round(width * image_size / shorter)
    with tf.device("CPU:0"):
        scaled = tf.image.resize(
            images, (new_height, new_width), "bilinear", antialias=True
        ).numpy()
    top = (new_height - image_size) // 2
    left = (new_width - image_size) // 2
    scaled = scaled[..., top : top + image_size, left : left + image_size, :]
    return np.rint(scaled).clip(0, 255).astype(np.uint8)

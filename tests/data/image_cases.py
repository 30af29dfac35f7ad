"""Images for tests, and files of them."""

import struct

import numpy as np
import tensorflow as tf


def make_images(count, height=4, width=5, channels=3, seed=0):
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


def write_image(path, image):
    """Writes a file of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = {
        ".png": tf.io.encode_png,
        ".jpg": lambda x: tf.io.encode_jpeg(x, quality=100),
    }[path.suffix.lower()]
    path.write_bytes(encode(image).numpy())


def idx_bytes(array):
    """The bytes of an idx file."""
    array = np.asarray(array, np.uint8)
    magic = 0x800 + array.ndim
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + (
        array.tobytes()
    )

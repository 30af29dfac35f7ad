"""Vectors to write as codes: patches of images, short runs of bytes."""

import tarfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from keras_xf.checks import check
from keras_xf.data.text_files import read_documents

SUFFIXES = (".jpg", ".jpeg", ".png")
# Of a text, its end.
HELD_OUT = 0.1


class Patches:
    """Square patches at random places of images.

    Args:
        images: uint8 `(number, height, width, channels)` to learn from.
        held_out: Images likewise, to judge with.
        size: Height and width of a patch.
    """

    def __init__(self, images, held_out, size: int):
        self.shape = (size, size, images.shape[-1])
        self._images = {False: images, True: held_out}
        self._size = size
        pixels = images[:: max(len(images) // 1000, 1)] / 255.0
        # What the squared error is divided by.
        self.variance = float(pixels.var())

    def draw(self, number: int, seed, held_out: bool = False) -> np.ndarray:
        """Draws patches, uint8 `(number, size, size, channels)`."""
        random = np.random.default_rng(seed)
        images = self._images[held_out]
        windows = sliding_window_view(images, self.shape[:2], axis=(1, 2))
        places = (random.integers(0, end, number) for end in windows.shape[:3])
        return np.moveaxis(windows[tuple(places)], 1, -1)


class Bytes:
    """Runs of bytes at random places of a text.

    Args:
        text: The text; its last tenth is to judge with.
        size: Bytes of a run.
    """

    def __init__(self, text: bytes, size: int):
        values = np.frombuffer(text, np.uint8)
        cut = round((1 - HELD_OUT) * len(values))
        self.shape = (size,)
        self._windows = {
            False: sliding_window_view(values[:cut], size),
            True: sliding_window_view(values[cut:], size),
        }

    def draw(self, number: int, seed, held_out: bool = False) -> np.ndarray:
        """Draws runs, uint8 `(number, size)`."""
        windows = self._windows[held_out]
        random = np.random.default_rng(seed)
        return windows[random.integers(0, len(windows), number)]


def read_patches(train: str | Path, test: str | Path, size: int) -> Patches:
    """Reads images of one size from two tar files, compressed or not.

    Raises:
        ValueError: If a file is missing, holds no image, or images of several
            sizes.
    """
    return Patches(_read_images(train), _read_images(test), size)


def read_bytes(path: str | Path, size: int) -> Bytes:
    """Reads a text, plain, .gz or .xz.

    Raises:
        ValueError: If it is missing, cannot be read, or is too short.
    """
    (text,) = read_documents([path])
    check(
        HELD_OUT * len(text) > size,
        "`path` must be longer.",
        path=str(path),
        bytes=len(text),
    )
    return Bytes(text, size)


def _read_images(path):
    check(Path(path).is_file(), "`path` must be a file.", path=str(path))
    with tarfile.open(path) as archive:
        images = [
            tf.io.decode_image(archive.extractfile(member).read(), 3).numpy()
            for member in archive
            if member.name.lower().endswith(SUFFIXES)
        ]
    shapes = {image.shape for image in images}
    check(
        len(shapes) == 1,
        "`path` must hold images of one size.",
        path=str(path),
        shapes=sorted(shapes),
    )
    return np.stack(images)

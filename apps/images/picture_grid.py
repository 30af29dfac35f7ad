"""Many small images as one that a person can look at."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_xf.files import atomic_file

# A tile has at least as many pixels each way.
TILE_SIZE = 64
# Between tiles, and thrice as much between groups of rows.
GAP = 4
WHITE = 255


def picture_grid(
    images: np.ndarray, columns: int, group: int = 1
) -> np.ndarray:
    """Lays images out row by row, small ones enlarged.

    Images are enlarged by a whole number, each pixel to a square, to
    `TILE_SIZE` pixels at least. What is between them, and around, is white.

    Args:
        images: uint8 `(count, height, width, channels)`.
        columns: Images of a row.
        group: Rows that belong together.

    Returns:
        uint8 `(height, width, channels)`.
    """
    count, height, width, channels = images.shape
    scale = max(1, -(-TILE_SIZE // max(height, width)))
    tiles = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    rows = -(-count // columns)
    tops = [
        GAP + row * (height + GAP) + 2 * GAP * (row // group)
        for row in range(rows)
    ]
    lefts = [GAP + column * (width + GAP) for column in range(columns)]
    shape = (tops[-1] + height + GAP, lefts[-1] + width + GAP, channels)
    grid = np.full(shape, WHITE, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = tops[place // columns], lefts[place % columns]
        grid[top : top + height, left : left + width] = tile
    return grid


def paired_grid(
    originals: np.ndarray, others: np.ndarray, columns: int
) -> np.ndarray:
    """Lays images out with their like below each.

    Args:
        originals: uint8 `(count, height, width, channels)`.
        others: As many, of the same shape.
        columns: Images of a row.

    Returns:
        uint8 `(height, width, channels)`.
    """
    rows = []
    for start in range(0, len(originals), columns):
        for images in (originals, others):
            row = images[start : start + columns]
            # Like the ground, where the last rows are shorter.
            missing = np.full(
                (columns - len(row), *row.shape[1:]), WHITE, np.uint8
            )
            rows.append(np.concatenate([row, missing]))
    return picture_grid(np.concatenate(rows), columns, group=2)


def to_pixels(decoded: np.ndarray) -> np.ndarray:
    """Rounds what a decoder makes to pixels.

    Args:
        decoded: Floats, with white as 1.

    Returns:
        uint8 array of the same shape.
    """
    return np.rint(255 * decoded.clip(0, 1)).astype(np.uint8)


def write_png(picture: np.ndarray, path: str | Path) -> None:
    """Replaces a `.png` file.

    Args:
        picture: uint8 `(height, width, 1 or 3)`.
        path: The file. Its folder is made where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as aside:
        aside.write_bytes(tf.io.encode_png(picture).numpy())

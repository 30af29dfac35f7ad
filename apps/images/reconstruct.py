r"""Draws images over what an autoencoder makes of them.

Usage:

    python -m apps.images.reconstruct --run_dir=runs/digits

Rows of originals alternate with rows of their reconstructions, in
`reconstructions.png` of the run directory. The log has the originals' names,
row by row, as apps.images.encode describes them.
"""

import dataclasses
from pathlib import Path

import numpy as np
from absl import logging

from apps.images.picture_grid import paired_grid
from apps.images.picture_grid import to_pixels
from apps.images.picture_grid import write_png
from apps.images.picture_options import PictureOptions
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(PictureOptions):
    """Options of the drawing."""

    num_images: int = option(
        "How many, at equal distances among all there are.", 32
    )
    columns: int = option("Images of a row.", 16)
    output: str | None = option(
        "The .png file; reconstructions.png in the run directory if none.",
        None,
    )

    def __post_init__(self):
        super().__post_init__()
        check(
            not self.labels,
            "`labels` must be empty: nothing is drawn of them.",
            labels=self.labels,
        )
        for name in ("num_images", "columns"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})


def reconstruct(options: Options) -> Path:
    """Encodes and decodes some images and draws them.

    Args:
        options: The options.

    Returns:
        The picture's file.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
    """
    autoencoder = options.load()
    found = options.read()
    count = len(found.images)
    number = min(options.num_images, count)
    found = found.take(np.arange(number) * count // number)
    images = found.images
    decoded = autoencoder.decode(autoencoder.encode(images))
    path = options.output or Path(options.run_dir) / "reconstructions.png"
    columns = min(options.columns, number)
    write_png(paired_grid(images, to_pixels(decoded), columns), path)
    logging.info("%d originals, each over its reconstruction: %s", number, path)
    for start in range(0, number, columns):
        names = ", ".join(found.names[start : start + columns])
        logging.info("row %d of originals: %s", start // columns + 1, names)
    return Path(path)


if __name__ == "__main__":
    launch(Options, reconstruct)

r"""Writes images as codes on disk.

Usage:

    python -m apps.images.encode --run_dir=runs/digits --split=train

    python -m apps.images.encode --run_dir=runs/digits --images=new.npz \
        --output=new_codes.npz

The file has the arrays `code_ids`, or `top_code_ids` and `bottom_code_ids`,
int32 `(count, height, width)`; `labels`, if the images have any; `names`, which
tell where each image came from; and `autoencoder_sha256`, that of the
`model.keras` which made them. Labels and names are strings `(count,)`.

The name of an image is its path within the folder or the tar archive, such as
`cat/1.png`, or its row in an .npz or idx file, such as `new.npz:0`; a digit of
scikit-learn is `digits:0`. Where `--images`, or the run's option for the split,
has several paths, each name begins with the path as it was given.
"""

import dataclasses
from pathlib import Path

from absl import logging

from apps.images.autoencoder import Autoencoder
from apps.images.code_files import Codes
from apps.images.picture_options import PictureOptions
from keras_xf.checks import check
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(PictureOptions):
    """Options of the encoding."""

    output: str | None = option(
        "The .npz file; codes/<split>.npz in the run directory if none.", None
    )

    def __post_init__(self):
        super().__post_init__()
        check(
            self.output is not None or not self.images,
            "`output` must be given where `images` are.",
            output=self.output,
        )
        check(
            self.output is None or self.output.endswith(".npz"),
            "`output` must end in .npz.",
            output=self.output,
        )


def encode(options: Options) -> Path:
    """Encodes the images.

    Args:
        options: The options.

    Returns:
        The file.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
    """
    codes = encode_images(options.load(), options.read())
    path = options.output or (
        Path(options.run_dir) / "codes" / f"{options.split}.npz"
    )
    codes.save(path)
    logging.info("codes of %d images: %s", len(codes), path)
    return Path(path)


def encode_images(autoencoder: Autoencoder, images: LabeledImages) -> Codes:
    """Encodes images, and notes by which autoencoder.

    Args:
        autoencoder: The autoencoder, of `load_autoencoder`.
        images: The images.
    """
    return Codes(
        autoencoder.encode(images.images),
        images.labels,
        autoencoder.sha256,
        names=images.names,
    )


if __name__ == "__main__":
    launch(Options, encode)

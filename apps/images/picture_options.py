"""Options of programs that read images for an autoencoder that is there."""

import dataclasses
from typing import Literal

from apps.images.autoencoder import Autoencoder
from apps.images.autoencoder import check_autoencoder
from apps.images.autoencoder import check_batch_size
from apps.images.autoencoder import load_autoencoder
from apps.images.examples import read_named
from apps.images.examples import with_shape
from apps.images.train import Options as TrainOptions
from apps.training import RunDirectory
from keras_xf.checks import check
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.launch import load_options
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Options that say which images are read, by which autoencoder."""

    run_dir: str = option("Run directory of an autoencoder.")
    split: Literal["train", "validation", "test"] = option(
        "Which images of the run.", "test"
    )
    images: tuple[str, ...] = option(
        "Other images than those of the run, as train_images of train.", ()
    )
    labels: tuple[str, ...] = option(
        "Idx files of labels, one for each idx file of images.", ()
    )
    batch_size: int = option("Images at once.", 64)

    def __post_init__(self):
        check(
            self.images or not self.labels,
            "`labels` must be empty unless there are `images`.",
            labels=self.labels,
        )
        check_batch_size(self.batch_size)

    def load(self) -> Autoencoder:
        """Loads the autoencoder.

        Raises:
            ValueError: If the run directory does not hold one.
        """
        return load_autoencoder(self.run_dir, "run_dir", self.batch_size)

    def read(self) -> LabeledImages:
        """Reads the images, of the shape of those to learn from.

        Raises:
            ValueError: If the run has no images of this part, or as
                `apps.images.examples.ImageOptions.read`.
        """
        run = RunDirectory(self.run_dir)
        check_autoencoder(run, "run_dir")
        train_options = load_options(TrainOptions, run.options)
        if not self.images:
            return read_split(train_options, self.split)
        shape = run.read_model_json()["arguments"]["image_shape"]
        images = read_named(self.images, self.labels, train_options, "images")
        return with_shape(images, tuple(shape), "images")


def read_split(train_options: TrainOptions, split: str) -> LabeledImages:
    """Reads the images of a part of a run.

    Args:
        train_options: The options of the run.
        split: "train", "validation" or "test".

    Raises:
        ValueError: If the run has no such images.
    """
    parts = train_options.read()
    check(
        split in parts,
        "`split` must be one that the run has images of.",
        split=split,
        splits=tuple(parts),
    )
    return parts[split]

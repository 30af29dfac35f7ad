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
        train_options = self._read_options()
        if self.images:
            return self._read_named(train_options)
        return self._choose(train_options.read())

    def read_with_known(self) -> tuple[LabeledImages, LabeledImages]:
        """Reads the images, and those that the autoencoder learned from.

        Raises:
            ValueError: As `read`.
        """
        train_options = self._read_options()
        parts = train_options.read()
        if self.images:
            return self._read_named(train_options), parts["train"]
        return self._choose(parts), parts["train"]

    def _read_named(self, train_options):
        model_json = RunDirectory(self.run_dir).read_model_json()
        images = read_named(self.images, self.labels, train_options, "images")
        return with_shape(
            images, tuple(model_json["arguments"]["image_shape"]), "images"
        )

    def _choose(self, parts):
        check(
            self.split in parts,
            "`split` must be one that the run has images of.",
            split=self.split,
            splits=tuple(parts),
        )
        return parts[self.split]

    def _read_options(self):
        run = RunDirectory(self.run_dir)
        check_autoencoder(run, "run_dir")
        return load_options(TrainOptions, run.options)

"""Options of programs that read images for an autoencoder that is there."""

import dataclasses
from typing import Literal

from apps.images.autoencoder import Autoencoder
from apps.images.autoencoder import check_autoencoder
from apps.images.autoencoder import check_batch_size
from apps.images.autoencoder import load_autoencoder
from apps.images.examples import read_named
from apps.images.examples import with_shape
from apps.images.image_hashes import check_image_hashes
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
        "Which images of the run; not looked at where there are images.",
        "test",
    )
    images: tuple[str, ...] = option(
        "Other images than those of the run, as train_images of train.", ()
    )
    labels: tuple[str, ...] = option(
        "Idx files of labels, one for each idx file of images.", ()
    )
    skip_corrupt_images: bool = option(
        "Leave files of images out that cannot be decoded, with a warning for "
        "each, instead of stopping. The run's own are read as it read them.",
        False,
    )
    batch_size: int = option("Images at once.", 64)

    def __post_init__(self):
        check(
            self.images or not self.labels,
            "`labels` must be empty unless there are `images`.",
            labels=self.labels,
        )
        check(
            self.images or not self.skip_corrupt_images,
            "`skip_corrupt_images` must be off unless there are `images`.",
            skip_corrupt_images=self.skip_corrupt_images,
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
            ValueError: If the run has no images of this part, if they are no
                longer those that the run has read, or as
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
        self._check_hashes(parts, "train")
        if self.images:
            return self._read_named(train_options), parts["train"]
        return self._choose(parts), parts["train"]

    def _read_named(self, train_options):
        if self.skip_corrupt_images:
            train_options = dataclasses.replace(
                train_options, skip_corrupt_images=True
            )
        images = read_named(self.images, self.labels, train_options, "images")
        return with_shape(images, self._shape(), "images")

    def _choose(self, parts):
        check(
            self.split in parts,
            "`split` must be one that the run has images of.",
            split=self.split,
            splits=tuple(parts),
        )
        # The images of runs that are too old to have hashes are those of some
        # shape at least.
        images = with_shape(
            parts[self.split], self._shape(), f"{self.split}_images"
        )
        self._check_hashes(parts, self.split)
        return images

    def _shape(self):
        model_json = RunDirectory(self.run_dir).read_model_json()
        return tuple(model_json["arguments"]["image_shape"])

    def _check_hashes(self, parts, split):
        run = RunDirectory(self.run_dir)
        check_image_hashes(run, parts, [split], "run_dir")

    def _read_options(self):
        run = RunDirectory(self.run_dir)
        check_autoencoder(run, "run_dir")
        return load_options(TrainOptions, run.options)

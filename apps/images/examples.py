"""The images that an autoencoder learns from, and is held to."""

import dataclasses
from collections.abc import Sequence

from absl import logging

from keras_xf.checks import check
from keras_xf.data.digits import read_digits
from keras_xf.data.images import read_images
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.launch import option

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Options that say which images are read.

    Without any, they are the digits of scikit-learn. Where no images to
    validate on, or to test on, are named, some of those to learn from are kept
    for it: a hash of an image's pixels decides.
    """

    # Images.
    train_images: tuple[str, ...] = option(
        "Images to learn from: folders or tar archives of .png, .jpg, .gif or "
        ".bmp files, whose subfolders are classes; .npz files with images and, "
        "if there are any, labels; or idx files as MNIST has them, plain or "
        ".gz. The digits of scikit-learn if empty.",
        (),
    )
    train_labels: tuple[str, ...] = option(
        "Idx files of labels, one for each idx file of images.", ()
    )
    validation_images: tuple[str, ...] = option(
        "Such images to choose the best model by; some of train_images if "
        "empty.",
        (),
    )
    validation_labels: tuple[str, ...] = option("Their labels.", ())
    test_images: tuple[str, ...] = option(
        "Held-out images; some of train_images if empty.", ()
    )
    test_labels: tuple[str, ...] = option("Their labels.", ())
    validation_fraction: float = option(
        "Part of train_images that is kept for validation where no "
        "validation_images are named; 0: no validation.",
        0.1,
    )
    test_fraction: float = option(
        "Part of train_images that is kept for testing where no test_images "
        "are named.",
        0.1,
    )
    image_size: int | None = option(
        "Cut the middle out of all images and scale it to this width; "
        "images as they are if none.",
        None,
    )
    skip_corrupt_images: bool = option(
        "Leave image files out that cannot be decoded, with a warning for "
        "each, instead of stopping.",
        False,
    )

    def __post_init__(self):
        check(
            self.train_images
            or not (self.validation_images or self.test_images),
            "`validation_images` and `test_images` must be empty unless there "
            "are `train_images`.",
            validation_images=self.validation_images,
            test_images=self.test_images,
        )
        for split in SPLITS:
            images = getattr(self, f"{split}_images")
            labels = getattr(self, f"{split}_labels")
            check(
                images or not labels,
                f"`{split}_labels` must be empty unless there are "
                f"`{split}_images`.",
                **{f"{split}_labels": labels},
            )
        fractions = {
            name: getattr(self, name)
            for name in ("validation_fraction", "test_fraction")
        }
        for name, fraction in fractions.items():
            check(
                0 <= fraction < 1,
                f"`{name}` must lie in [0, 1).",
                **{name: fraction},
            )
        check(
            sum(fractions.values()) < 1,
            "`validation_fraction` and `test_fraction` must be less than 1 "
            "together.",
            **fractions,
        )
        check(
            self.image_size is None or self.image_size > 0,
            "`image_size` must be positive.",
            image_size=self.image_size,
        )

    def read(self) -> dict[str, LabeledImages]:
        """Reads the images of all parts.

        Returns:
            The images by part, "train", "validation" and "test", without those
            parts that have none. All have the size of "train".

        Raises:
            ValueError: If files are missing, broken or not images, or if sizes
                differ.
        """
        found = {
            split: read_named(
                getattr(self, f"{split}_images"),
                getattr(self, f"{split}_labels"),
                self,
                f"{split}_images",
            )
            for split in SPLITS
            if getattr(self, f"{split}_images")
        }
        if "train" not in found:
            found["train"] = read_digits()
        found |= self._hold_out(found)
        shape = found["train"].images.shape[1:]
        return {
            split: with_shape(found[split], shape, f"{split}_images")
            for split in SPLITS
            if split in found
        }

    def _hold_out(self, found):
        images = found["train"]
        places = images.content_places()
        taken, parts = 0.0, {}
        for split in ("test", "validation"):
            fraction = getattr(self, f"{split}_fraction")
            if split in found or not fraction:
                continue
            is_in = (places >= taken) & (places < taken + fraction)
            taken += fraction
            check(
                is_in.any(),
                f"`train_images` must be enough for a part of "
                f"`{split}_fraction`; there is none with "
                f"--{split}_fraction=0.",
                images=len(places),
                **{f"{split}_fraction": fraction},
            )
            parts[split] = images.take(is_in)
        is_left = places >= taken
        check(
            is_left.any(),
            "`train_images` must be enough to keep some for validation and "
            "testing; none are kept with --validation_fraction=0 and "
            "--test_fraction=0.",
            images=len(places),
        )
        return {"train": images.take(is_left), **parts}


def read_named(
    paths: Sequence[str],
    labels_paths: Sequence[str],
    options: ImageOptions,
    flag: str,
) -> LabeledImages:
    """Reads images that a flag names.

    Args:
        paths: What it names.
        labels_paths: Idx files of labels.
        options: Say whether images are scaled, and corrupt ones left out.
        flag: The flag, for the error message.

    Raises:
        ValueError: If a file is missing, broken or not of images, or if sizes
            differ.
    """
    on_corrupt = _warn if options.skip_corrupt_images else None
    return read_images(
        paths,
        labels_paths,
        image_size=options.image_size,
        on_corrupt=on_corrupt,
        argument=flag,
        labels_argument=flag.replace("images", "labels"),
    )


def with_shape(
    images: LabeledImages, shape: tuple[int, int, int], flag: str
) -> LabeledImages:
    """Gives grey images the three channels that others have.

    Args:
        images: The images.
        shape: Height, width and channels that they are to have.
        flag: What named the images, for the error message.

    Raises:
        ValueError: If the images have another size, or colors where they must
            not.
    """
    found = images.images.shape[1:]
    check(
        found[:2] == tuple(shape[:2]) and found[2] in (1, shape[2]),
        f"`{flag}` must name images of the shape of those to learn from.",
        shape=found,
        expected=tuple(shape),
    )
    if found[2] == shape[2]:
        return images
    return dataclasses.replace(
        images, images=images.images.repeat(shape[2], -1)
    )


def _warn(path, reason):
    logging.warning("leaving out the corrupt image %s (%s)", path, reason)

r"""Draws new images from a prior.

Usage:

    python -m apps.images.sample --run_dir=runs/digits_prior

    python -m apps.images.sample --run_dir=runs/digits_prior --classes=3,7 \
        --num_images=10 --temperature=0.8 --seed=1 --npz=threes_and_sevens.npz

They are drawn into `samples.png` of the run directory, of a prior that knows
classes a row for each class. An image depends on the seed and on its own place
alone: the first ten of twenty are those of ten.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
from absl import logging

from apps.images.autoencoder import check_batch_size
from apps.images.picture_grid import picture_grid
from apps.images.picture_grid import to_pixels
from apps.images.picture_grid import write_png
from apps.images.prior import Prior
from apps.images.prior import load_prior
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import option

# Of a class: their places are numbers of 32 bits with that of the class.
_MOST_IMAGES = 2**16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the sampling."""

    run_dir: str = option("Run directory of a prior.")
    num_images: int | None = option(
        "Images in all, or of each class; 64, or 10, if none.", None
    )
    classes: tuple[str, ...] = option(
        "Classes to draw, of a prior that knows classes; all if empty.", ()
    )
    temperature: float = option(
        "What the logits of codes are divided by: less than 1 for images that "
        "are more usual, 0 for the most probable code at each place.",
        1.0,
    )
    seed: int = option("Seed of the draws.", 0)
    batch_size: int = option("Images at once.", 64)
    output: str | None = option(
        "The .png file; samples.png in the run directory if none.", None
    )
    npz: str | None = option(
        "An .npz file to write, too, with `images`, the codes and, if there "
        "are classes, `labels`.",
        None,
    )

    def __post_init__(self):
        check(
            self.num_images is None or 0 < self.num_images <= _MOST_IMAGES,
            f"`num_images` must be positive, and {_MOST_IMAGES} at most.",
            num_images=self.num_images,
        )
        check(
            0 <= self.temperature < math.inf,
            "`temperature` must be finite and not negative.",
            temperature=self.temperature,
        )
        check(
            0 <= self.seed < 2**31,
            "`seed` must lie in [0, 2**31).",
            seed=self.seed,
        )
        check_batch_size(self.batch_size)
        check(
            self.npz is None or self.npz.endswith(".npz"),
            "`npz` must end in .npz.",
            npz=self.npz,
        )


@dataclasses.dataclass(frozen=True)
class Samples:
    """Images that were drawn.

    Attributes:
        images: uint8 `(count, height, width, channels)`.
        codes: Their codes, int32 `(count, height, width)` by name.
        labels: The class of each; None without classes.
    """

    images: np.ndarray
    codes: dict[str, np.ndarray]
    labels: list[str] | None


def sample(options: Options) -> Path:
    """Draws images, and writes them.

    Args:
        options: The options.

    Returns:
        The picture's file.

    Raises:
        ValueError: If the run directory is wrong, or a class unknown.
    """
    prior = load_prior(options.run_dir, "run_dir", options.batch_size)
    samples = draw(prior, options)
    # A row for each class; others as square as it can be.
    columns = math.ceil(math.sqrt(len(samples.images)))
    if samples.labels is not None:
        columns = samples.labels.count(samples.labels[0])
    path = Path(options.output or Path(options.run_dir) / "samples.png")
    write_png(picture_grid(samples.images, columns), path)
    if options.npz is not None:
        _write_arrays(options.npz, samples)
    logging.info("%d images: %s", len(samples.images), path)
    return path


def draw(prior: Prior, options: Options) -> Samples:
    """Draws images.

    Args:
        prior: The prior.
        options: The options, but for what they say of files.

    Raises:
        ValueError: If a class is unknown.
    """
    unknown = sorted(set(options.classes) - set(prior.classes))
    check(
        not unknown,
        "`classes` must be classes of the prior.",
        unknown=unknown,
        known=prior.classes,
    )
    classes = list(dict.fromkeys(options.classes)) or prior.classes
    each = options.num_images or (10 if classes else 64)
    class_ids, places = None, np.arange(each)
    if classes:
        known = [prior.classes.index(name) for name in classes]
        class_ids = np.repeat(np.array(known, np.int32), each)
        # So that an image is the same whichever classes are drawn.
        places = class_ids * _MOST_IMAGES + np.tile(places, len(classes))
    seed = np.stack([np.full_like(places, options.seed), places], axis=1)
    codes = prior.sample(class_ids, seed.astype(np.int32), options.temperature)
    return Samples(
        images=to_pixels(prior.autoencoder.decode(codes)),
        codes=codes,
        labels=[prior.classes[i] for i in class_ids] if classes else None,
    )


def _write_arrays(path, samples):
    arrays = {"images": samples.images, **samples.codes}
    if samples.labels is not None:
        arrays["labels"] = np.array(samples.labels)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    launch(Options, sample)

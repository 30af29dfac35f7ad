r"""Trains an autoencoder that writes images as codes.

Usage:

    python -m apps.images.train --run_dir=runs/digits --num_halvings=1

    python -m apps.images.train --run_dir=runs/mine --train_images=photos \
        --image_size=64 --num_levels=2 --bottleneck_options='{"decay": 0.99}'

The first learns from the digits that scikit-learn comes with. The subfolders of
the second's folder are classes, which a prior can learn. Options can also stand
in a file, one flag per line, such as `--flagfile=apps/images/demo.flags`. The
same command started again goes on where it was cut off.

In `history.csv` the columns of codes that begin with `val_` count all images to
validate on, once, by one model. The others count the training's steps since the
row before, while codes and encoder change; their `dead_fraction` and
`running_perplexity` are by the codebook's running counts, if it has any, which
reach further back.
"""

import dataclasses
import functools
import json
from typing import Literal

import keras
import numpy as np
from absl import logging

from apps.images.autoencoder import to_floats
from apps.images.examples import ImageOptions
from apps.images.image_hashes import write_image_hashes
from apps.images.validated_code_use import ValidatedCodeUse
from apps.training import Result
from apps.training import TrainingOptions
from apps.training import check_can_plot
from apps.training import fit
from apps.training import prepare
from apps.training import report_end
from keras_xf import losses
from keras_xf import metrics
from keras_xf.checks import check
from keras_xf.data.shuffled_rows import ShuffledRows
from keras_xf.data.shuffled_rows import ordered_rows
from keras_xf.launch import launch
from keras_xf.launch import option

# Arguments of the builder that are options of the same name.
_SIZES = (
    *("num_levels", "num_halvings", "bottleneck", "num_codes", "code_dim"),
    *("codes_per_place", "hidden_dim", "residual_dim", "num_residual_blocks"),
    "seed",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions, ImageOptions):
    """Options of the training."""

    # Model.
    num_levels: Literal[1, 2] = option("Levels of codes.", 1)
    num_halvings: int = option(
        "How often the size is halved before the codes, of two levels the "
        "larger ones: 2 makes 8x8 codes of 32x32 pixels.",
        2,
    )
    bottleneck: Literal[
        "vq_ema", "vq", "dvq", "gumbel_softmax", "semantic_hashing"
    ] = option(
        "What makes codes: a codebook of moving averages, one that learns by "
        "gradient, one in parts, draws from a softmax, or bits.",
        "vq_ema",
    )
    num_codes: int = option(
        "Number of codes: of dvq a power of num_parts, of semantic_hashing a "
        "power of 2.",
        512,
    )
    code_dim: int = option("Width of the codes.", 64)
    codes_per_place: int = option("Codes side by side for each place.", 1)
    bottleneck_options: str = option(
        "Other arguments of the bottleneck's layer as JSON, such as "
        '{"restart": {"fraction": 0.03}} or {"num_parts": 2}.',
        "{}",
    )
    hidden_dim: int = option("Width of the residual stream.", 128)
    residual_dim: int = option("Width inside of residual blocks.", 32)
    num_residual_blocks: int = option(
        "Residual blocks of the encoder, and of the decoder.", 2
    )
    # Loss.
    normalize_loss: bool = option(
        "Divide the squared error by the variance of the images to learn from.",
        True,
    )

    def __post_init__(self):
        TrainingOptions.__post_init__(self)
        ImageOptions.__post_init__(self)
        check(
            isinstance(_parse(self.bottleneck_options), dict),
            "`bottleneck_options` must be a JSON object.",
            bottleneck_options=self.bottleneck_options,
        )


def train(options: Options) -> Result:
    """Trains, or goes on training, in the run directory.

    Args:
        options: The options.

    Returns:
        The result; the run directory holds all that it left.

    Raises:
        ValueError: If an option or a file is wrong, or the run directory is
            of another model or of other data.
    """
    check_can_plot(options.run_dir)
    prepare(options)
    parts = options.read()
    images = parts["train"].images
    check(
        len(images) >= options.batch_size,
        "`train_images` must have `batch_size` images to learn from.",
        images=len(images),
        batch_size=options.batch_size,
    )
    variance = pixel_variance(images)
    check(
        variance > 0 or not options.normalize_loss,
        "`normalize_loss` must be off where all pixels are alike.",
        normalize_loss=options.normalize_loss,
    )
    rows = ShuffledRows({"images": images}, options.batch_size, options.seed)
    logging.info(
        "training images: %d of %s, %d steps an epoch",
        len(images),
        images.shape[1:],
        rows.steps_per_epoch,
    )
    validation = parts.get("validation")
    make_validation_set, callbacks = None, []
    if validation is not None:
        make_validation_set = functools.partial(
            _validation_set, validation.images, options.batch_size
        )
        callbacks = [ValidatedCodeUse(validation.images, options.batch_size)]
    result = fit(
        options,
        model_json=_describe(options, images.shape[1:]),
        make_train_set=lambda step: rows.dataset(step).map(_to_pair),
        make_validation_set=make_validation_set,
        loss={
            "reconstruction": losses.NormalizedMeanSquaredError(
                variance if options.normalize_loss else 1.0
            )
        },
        make_metrics=lambda: {
            "reconstruction": [
                keras.metrics.MeanSquaredError(name="mse"),
                metrics.NormalizedMeanSquaredError(
                    variance or 1.0, name="relative_mse"
                ),
            ]
        },
        # Without the losses of codes, which compare nothing.
        monitor="val_mse",
        data_fingerprint={
            f"{split}_sha256": parts[split].sha256
            for split in ("train", "validation")
            if split in parts
        },
        write_files=lambda folder: write_image_hashes(folder, parts),
        callbacks=callbacks,
    )
    report_end(options.run_dir, result, metric="relative_mse")
    return result


def pixel_variance(images: np.ndarray) -> float:
    """The variance of all entries of images, with white as 1.

    Args:
        images: uint8 array.
    """
    # By the counts of values: a float64 for each pixel would be large.
    counts = np.bincount(images.ravel(), minlength=256)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    return float(np.average((levels - mean) ** 2, weights=counts))


def _to_pair(batch):
    images = to_floats(batch["images"])
    return {"images": images}, {"reconstruction": images}


def _validation_set(images, batch_size):
    rows = ordered_rows({"images": images}, batch_size)
    return rows.map(
        lambda batch, weight: (*_to_pair(batch), {"reconstruction": weight})
    )


def _describe(options, image_shape):
    arguments = {name: getattr(options, name) for name in _SIZES}
    arguments["image_shape"] = list(image_shape)
    arguments["bottleneck_options"] = _parse(options.bottleneck_options)
    return {"builder": "build_vq_vae", "arguments": arguments}


def _parse(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


if __name__ == "__main__":
    launch(Options, train)

r"""Trains a prior over the codes of an autoencoder.

Usage:

    python -m apps.images.train_prior --run_dir=runs/digits_prior \
        --autoencoder_dir=runs/digits --class_conditional

    python -m apps.images.train_prior --run_dir=runs/pixel_cnn \
        --autoencoder_dir=runs/digits --prior=pixel_cnn \
        --codes=runs/digits/codes/train.npz \
        --validation_codes=runs/digits/codes/validation.npz

The first encodes the images of the autoencoder's run itself, the second reads
codes that `apps.images.encode` wrote. The autoencoder is copied into the run
directory, which is then all that `apps.images.sample` needs. The same command
started again goes on where it was cut off.
"""

import dataclasses
import functools
import math
import shutil
from pathlib import Path

import keras
from absl import logging

from apps.images.autoencoder import Autoencoder
from apps.images.autoencoder import check_autoencoder
from apps.images.autoencoder import load_autoencoder
from apps.images.code_files import Codes
from apps.images.code_files import read_codes
from apps.images.encode import encode_images
from apps.images.image_hashes import NAME as IMAGE_HASHES
from apps.images.image_hashes import check_image_hashes
from apps.images.joint_bits import METRIC
from apps.images.joint_bits import JointBits
from apps.images.prior_options import PriorOptions
from apps.images.train import Options as TrainOptions
from apps.training import Result
from apps.training import RunDirectory
from apps.training import TrainingOptions
from apps.training import check_can_plot
from apps.training import fit
from apps.training import prepare
from apps.training import report_end
from keras_xf.checks import check
from keras_xf.data.labeled_images import class_ids_of
from keras_xf.data.labeled_images import classes_of
from keras_xf.data.shuffled_rows import ShuffledRows
from keras_xf.data.shuffled_rows import ordered_rows
from keras_xf.files import atomic_file
from keras_xf.files import sha256
from keras_xf.files import write_names
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option
from keras_xf.metrics import BitsPerToken

# In the run directory: the autoencoder, and the names of the classes.
AUTOENCODER = "autoencoder"
CLASSES = "classes.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions, PriorOptions):
    """Options of the training."""

    # Codes.
    autoencoder_dir: str = option("Run directory of the autoencoder.")
    codes: str | None = option(
        "Codes to learn from, as apps.images.encode writes them; those of the "
        "images that the autoencoder learned from if none.",
        None,
    )
    validation_codes: str | None = option(
        "Codes to choose the best model by; those of the autoencoder's "
        "validation, if codes are not given, or no validation, if none.",
        None,
    )

    def __post_init__(self):
        TrainingOptions.__post_init__(self)
        PriorOptions.__post_init__(self)
        check(
            self.codes is not None or self.validation_codes is None,
            "`validation_codes` must be none unless there are `codes`.",
            validation_codes=self.validation_codes,
        )


def train_prior(options: Options) -> Result:
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
    autoencoder = load_autoencoder(options.autoencoder_dir, "autoencoder_dir")
    parts = _read(options, autoencoder)
    codes, validation = parts["train"], parts.get("validation")
    classes = _classes(options, parts)
    check(
        len(codes) >= options.batch_size,
        "`codes` must be those of `batch_size` images.",
        images=len(codes),
        batch_size=options.batch_size,
    )
    rows = ShuffledRows(
        _arrays(codes, classes), options.batch_size, options.seed
    )
    logging.info(
        "codes of %d images, %d an image, %d steps an epoch",
        len(codes),
        sum(map(math.prod, autoencoder.code_shapes.values())),
        rows.steps_per_epoch,
    )
    numbers = {
        _logits(name): math.prod(shape)
        for name, shape in autoencoder.code_shapes.items()
    }
    make_validation_set = None
    if validation is not None:
        make_validation_set = functools.partial(
            _validation_set, _arrays(validation, classes), options.batch_size
        )
    result = fit(
        options,
        model_json=options.describe(
            autoencoder.code_shapes,
            autoencoder.num_codes,
            len(classes) if options.class_conditional else None,
        ),
        make_train_set=lambda step: rows.dataset(step).map(_to_pair),
        make_validation_set=make_validation_set,
        # In one sum each code weighs as much as any other.
        loss={
            name: _CrossEntropy(number / sum(numbers.values()))
            for name, number in numbers.items()
        },
        make_metrics=lambda: {name: [BitsPerToken(METRIC)] for name in numbers},
        # Counts codes alike on one device and on many, unlike the loss.
        monitor=f"val_{METRIC}",
        data_fingerprint={
            "autoencoder_sha256": codes.autoencoder_sha256,
            **{f"{split}_sha256": parts[split].sha256 for split in parts},
        },
        write_files=lambda folder: _write_files(
            options, folder, classes, codes.autoencoder_sha256
        ),
        callbacks=[JointBits(numbers)] if len(numbers) > 1 else [],
    )
    report_end(options.run_dir, result, metric=METRIC)
    return result


class _CrossEntropy(keras.losses.Loss):
    """Cross-entropy of a level, weighed by its part of all codes."""

    def __init__(self, weight):
        super().__init__(reduction="mean_with_sample_weight")
        self.weight = weight

    def call(self, y_true, y_pred):
        nats = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        return self.weight * keras.ops.mean(nats, axis=(1, 2))


def _read(options, autoencoder: Autoencoder) -> dict[str, Codes]:
    run = RunDirectory(options.autoencoder_dir)
    if options.codes is None:
        parts = load_options(TrainOptions, run.options).read()
        splits = [name for name in ("train", "validation") if name in parts]
        check_image_hashes(run, parts, splits, "autoencoder_dir")
        return {
            split: encode_images(autoencoder, parts[split]) for split in splits
        }
    named = {"codes": "train", "validation_codes": "validation"}
    parts = {
        split: read_codes(
            getattr(options, flag),
            autoencoder.code_shapes,
            autoencoder.num_codes,
            autoencoder.sha256,
            flag,
        )
        for flag, split in named.items()
        if getattr(options, flag) is not None
    }
    hashes = [codes.sha256 for codes in parts.values()]
    check(
        len(set(hashes)) == len(hashes),
        "`validation_codes` must be others than `codes`.",
        codes=options.codes,
        validation_codes=options.validation_codes,
    )
    return parts


def _classes(options, parts):
    if not options.class_conditional:
        return []
    classes = classes_of(parts["train"].labels or ())
    check(
        len(classes) >= 2,
        "`class_conditional` must be off unless images have labels of two "
        "classes or more.",
        class_conditional=options.class_conditional,
        labels=classes,
    )
    if "validation" in parts:
        labels = parts["validation"].labels
        unknown = sorted(set(labels or ()) - set(classes))
        check(
            labels is not None and not unknown,
            "`class_conditional` must be off unless the images to validate on "
            "have labels, all of them among those to learn from.",
            class_conditional=options.class_conditional,
            split="validation",
            has_labels=labels is not None,
            unknown=unknown,
            known=classes,
        )
    return classes


def _arrays(codes, classes):
    if not classes:
        return codes.arrays
    class_ids = class_ids_of(codes.labels, classes)
    return {**codes.arrays, "class_ids": class_ids}


def _logits(name):
    return name.removesuffix("_ids") + "_logits"


def _to_pair(batch):
    targets = {
        _logits(name): x for name, x in batch.items() if name != "class_ids"
    }
    return batch, targets


def _validation_set(arrays, batch_size):
    def with_weights(batch, weight):
        inputs, targets = _to_pair(batch)
        return inputs, targets, dict.fromkeys(targets, weight)

    return ordered_rows(arrays, batch_size).map(with_weights)


def _write_files(options, folder, classes, autoencoder_sha256):
    source = RunDirectory(options.autoencoder_dir)
    check_autoencoder(source, "autoencoder_dir")
    copy = RunDirectory(Path(folder) / AUTOENCODER)
    copy.path.mkdir(exist_ok=True)
    paths = [source.model, source.options, source.model_json]
    # Which early runs do not have.
    paths += filter(Path.exists, [source.path / IMAGE_HASHES])
    for path in paths:
        with atomic_file(copy.path / path.name) as aside:
            shutil.copyfile(path, aside)
            if path != source.model:
                continue
            # That of the copy: the source may be replaced at any time.
            copied_sha256 = sha256(aside)
            check(
                copied_sha256 == autoencoder_sha256,
                "`autoencoder_dir` must hold the autoencoder that made the "
                "codes, which is not in training.",
                autoencoder_dir=options.autoencoder_dir,
                made_by=autoencoder_sha256,
                autoencoder=copied_sha256,
            )
    if classes:
        write_names(Path(folder) / CLASSES, classes)


if __name__ == "__main__":
    launch(Options, train_prior)

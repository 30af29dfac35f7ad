"""A trained prior, with the autoencoder whose codes it knows."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from apps.images.autoencoder import Autoencoder
from apps.images.autoencoder import in_batches
from apps.images.autoencoder import load_autoencoder
from apps.images.train_prior import AUTOENCODER
from apps.images.train_prior import CLASSES
from apps.training import RunDirectory
from apps.training.model_file import load_model
from keras_xf import models
from keras_xf.checks import check
from keras_xf.files import read_names

BUILDERS = ("build_code_transformer", "build_pixel_cnn")


class Prior:
    """A prior over codes at work.

    Args:
        model: A model of `build_code_transformer` or `build_pixel_cnn`.
        autoencoder: The autoencoder.
        classes: Names of the classes; empty without any.
        batch_size: Images at once.

    Attributes:
        autoencoder: The autoencoder.
        classes: Names of the classes.
    """

    def __init__(
        self,
        model: keras.Model,
        autoencoder: Autoencoder,
        classes: list[str],
        batch_size: int,
    ):
        self.autoencoder = autoencoder
        self.classes = classes
        self._batch_size = batch_size
        self._draw = models.code_sampler(model)

        @tf.function(autograph=False)
        def score(batch):
            return models.code_nll(model, batch, batch.get("class_ids"))

        self._score = score

    def nats(
        self, codes: Mapping[str, np.ndarray], class_ids: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Returns `-log p` of each code, given those before it.

        Args:
            codes: int32 `(count, height, width)` by name.
            class_ids: int32 `(count,)`; None without classes.

        Returns:
            float32 `(count, height, width)` by name.
        """
        arrays = dict(codes)
        if class_ids is not None:
            arrays["class_ids"] = class_ids
        return in_batches(self._score, arrays, self._batch_size)

    def sample(
        self, class_ids: np.ndarray | None, seed: np.ndarray, temperature: float
    ) -> dict[str, np.ndarray]:
        """Draws codes.

        Args:
            class_ids: int32 `(count,)`; None without classes.
            seed: int32 `(count, 2)`. An image depends on its own alone.
            temperature: What the logits are divided by.

        Returns:
            int32 `(count, height, width)` by name.
        """
        arrays = {"seed": seed}
        if class_ids is not None:
            arrays["class_ids"] = class_ids
        return in_batches(
            lambda batch: self._draw(
                batch.get("class_ids"), batch["seed"], temperature
            ),
            arrays,
            self._batch_size,
        )


def load_prior(folder: str | Path, flag: str, batch_size: int = 64) -> Prior:
    """Loads a prior and its autoencoder.

    Args:
        folder: Run directory of a prior.
        flag: The option that named it, for the error message.
        batch_size: Images at once.

    Raises:
        ValueError: If it does not hold them.
    """
    run = RunDirectory(folder)
    run.check_trained("prior", AUTOENCODER)
    model_json = run.read_model_json(flag)
    builder = model_json["builder"]
    check(
        builder in BUILDERS,
        f"`{flag}` must hold a trained prior.",
        **{flag: str(run.path)},
        builder=builder,
    )
    model = load_model(run.model, flag)
    classes = (
        read_names(run.path / CLASSES) if "class_ids" in model.input else []
    )
    num_classes = model_json["arguments"].get("num_classes")
    check(
        len(classes) == (num_classes or 0),
        f"`{flag}` must have a {CLASSES} with a name for each class.",
        **{flag: str(run.path)},
        names=len(classes),
        num_classes=num_classes,
    )
    return Prior(
        model,
        autoencoder=load_autoencoder(run.path / AUTOENCODER, flag, batch_size),
        classes=classes,
        batch_size=batch_size,
    )

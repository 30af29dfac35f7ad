"""A trained autoencoder at work: images to codes and back, many at once."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_xf  # noqa: F401  (registers the layers that model.keras names)
from apps.training import RunDirectory
from apps.training.model_file import load_model
from keras_xf import models
from keras_xf.checks import check
from keras_xf.files import sha256


class Autoencoder:
    """Writes arrays of images as codes, and reads them.

    Args:
        model: A model of `keras_xf.models.build_vq_vae`.
        batch_size: Images at once.
        sha256: Of its `model.keras`, if it was loaded.

    Attributes:
        sha256: The same.
        image_shape: Height, width and channels.
        code_shapes: Height and width of the codes by name.
        num_codes: How many codes there are, by name.
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int = 64,
        sha256: str | None = None,
    ):
        self.sha256 = sha256
        encoder = models.vq_vae_encoder(model)
        decoder = models.vq_vae_decoder(model)
        self.image_shape = tuple(model.inputs[0].shape[1:])
        self.code_shapes = models.code_shapes(model)
        self.num_codes = models.num_codes(model)
        self._batch_size = batch_size

        @tf.function(autograph=False)
        def encode(batch):
            return encoder(
                {"images": to_floats(batch["images"])}, training=False
            )

        @tf.function(autograph=False)
        def decode(batch):
            return decoder(batch, training=False)

        self._encode, self._decode = encode, decode

    def encode(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Writes images as codes.

        Args:
            images: uint8 `(count, height, width, channels)`.

        Returns:
            int32 `(count, height, width)` by the codes' names.
        """
        return in_batches(self._encode, {"images": images}, self._batch_size)

    def decode(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """Reads codes as images.

        Args:
            codes: What `encode` returned.

        Returns:
            float32 `(count, height, width, channels)`, of which 0 is black and
            1 white; some may lie outside.
        """
        names = self.code_shapes
        codes = {name: codes[name] for name in names}
        decoded = in_batches(self._decode, codes, self._batch_size)
        return decoded["reconstruction"]


def load_autoencoder(
    folder: str | Path, flag: str, batch_size: int = 64
) -> Autoencoder:
    """Loads the autoencoder of a folder.

    Args:
        folder: A run directory, or the folder `autoencoder` in that of a prior.
        flag: The option that named it, for the error message.
        batch_size: Images at once.

    Raises:
        ValueError: If it does not hold a trained autoencoder, or one that is
            replaced meanwhile.
    """
    run = RunDirectory(folder)
    check_autoencoder(run, flag)
    before = sha256(run.model)
    model = load_model(run.model, flag)
    after = sha256(run.model)
    check(
        before == after,
        f"`{flag}` must hold an autoencoder that is not in training.",
        **{flag: str(run.path)},
        before=before,
        after=after,
    )
    return Autoencoder(model, batch_size, after)


def check_autoencoder(run: RunDirectory, flag: str) -> None:
    """Makes sure that a folder holds a trained autoencoder.

    Args:
        run: The folder.
        flag: The option that named it, for the error message.

    Raises:
        ValueError: If it does not.
    """
    for path in (run.options, run.model_json, run.model):
        check(
            path.exists(),
            f"`{flag}` must hold a trained autoencoder.",
            **{flag: str(run.path)},
            missing=path.name,
        )
    builder = run.read_model_json(flag)["builder"]
    check(
        builder == "build_vq_vae",
        f"`{flag}` must hold a trained autoencoder.",
        **{flag: str(run.path)},
        builder=builder,
    )


def to_floats(images):
    """Returns images in [0, 1] as models take them.

    Args:
        images: uint8 tensor.
    """
    return tf.cast(images, tf.float32) / 255.0


def in_batches(
    function, arrays: Mapping[str, np.ndarray], batch_size: int
) -> dict[str, np.ndarray]:
    """Calls a function with so many rows at once.

    Args:
        function: From a dict of tensors to a dict of tensors.
        arrays: Arrays by name, with as many rows each.
        batch_size: Rows at once. The last ones are filled up, so that the
            function meets one shape.
    """
    num_rows = len(next(iter(arrays.values())))
    batch_size = min(batch_size, num_rows)
    parts = []
    for start in range(0, num_rows, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), num_rows - 1)
        results = function({n: tf.constant(x[rows]) for n, x in arrays.items()})
        parts.append({name: x.numpy() for name, x in results.items()})
    return {
        name: np.concatenate([part[name] for part in parts])[:num_rows]
        for name in parts[0]
    }


def check_batch_size(batch_size: int) -> None:
    """Raises `ValueError` unless a batch size is positive."""
    check(
        batch_size > 0, "`batch_size` must be positive.", batch_size=batch_size
    )

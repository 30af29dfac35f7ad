"""The callback that counts the codes of the images to validate on."""

import re

import keras
import numpy as np

from apps.images.autoencoder import Autoencoder
from apps.images.code_use import code_use

# Layers count in training alone: what they call theirs in the validation is
# that of the training, or NaN.
_OF_LAYERS = re.compile(r"val_(top_|bottom_)?codes_.*")


class ValidatedCodeUse(keras.callbacks.Callback):
    """Adds to the logs of each epoch how the validation uses codes.

    They are `val_perplexity`, `val_active_codes` and `val_dead_fraction`; with
    two levels `val_top_perplexity`, `val_bottom_perplexity` and so on.

    Args:
        images: uint8 `(count, height, width, channels)`.
        batch_size: Images at once.
    """

    def __init__(self, images: np.ndarray, batch_size: int):
        super().__init__()
        self.images = images
        self.batch_size = batch_size
        self._autoencoder = None

    def on_epoch_end(self, epoch, logs=None):
        if self._autoencoder is None:
            self._autoencoder = Autoencoder(self.model, self.batch_size)
        for name in [*filter(_OF_LAYERS.fullmatch, logs)]:
            del logs[name]
        codes = self._autoencoder.encode(self.images)
        uses = code_use(codes, self._autoencoder.num_codes)
        for name, use in uses.items():
            level = name.removesuffix("code_ids")
            logs |= {f"val_{level}{key}": x for key, x in use.items()}

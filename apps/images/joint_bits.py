"""The callback that puts the bits of two levels of codes together."""

from collections.abc import Mapping

import keras

METRIC = "bits_per_code"


class JointBits(keras.callbacks.Callback):
    """Adds the mean over the codes of all levels to the logs of each epoch.

    They are `bits_per_code` and `val_bits_per_code`, which a model of one
    output has by itself.

    Args:
        numbers: How many codes an image has, by the output of their logits.
    """

    def __init__(self, numbers: Mapping[str, int]):
        super().__init__()
        self.numbers = numbers

    def on_epoch_end(self, epoch, logs=None):
        for prefix in ("", "val_"):
            names = {n: f"{prefix}{n}_{METRIC}" for n in self.numbers}
            if all(name in logs for name in names.values()):
                bits = sum(
                    number * logs[names[n]]
                    for n, number in self.numbers.items()
                )
                logs[f"{prefix}{METRIC}"] = bits / sum(self.numbers.values())

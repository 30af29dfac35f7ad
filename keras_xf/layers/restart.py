"""When codes that nothing hits begin again (Dhariwal et al., 2020)."""

import dataclasses

import keras

from keras_xf.checks import as_integer
from keras_xf.checks import as_number
from keras_xf.checks import check


@keras.saving.register_keras_serializable(package="keras_xf")
@dataclasses.dataclass(frozen=True)
class Restart:
    """Options of the restart of dead codes.

    After a training step each code whose running count is less than a threshold
    is put onto a vector of the batch, drawn without repetition, with the mean
    of all counts as its own: with a fraction of 0.03 and a decay of 0.99 it has
    349 steps to be hit.

    Args:
        fraction: The threshold, as part of the mean of all codes' hits in a
            step: 0.03, a suggestion of this library, without any.
        threshold: The threshold in hits of a step, of all replicas, instead:
            1 in Jukebox, 2 in EnCodec.
        every: Steps from one restart to the next.
        warmup: Steps at the beginning without any.

    Raises:
        ValueError: If a value is no number or out of range, or both
            `fraction` and `threshold` are given.

    Reference:
        [Dhariwal et al., 2020](https://arxiv.org/abs/2005.00341), section 3.1
    """

    fraction: float | None = None
    threshold: float | None = None
    every: int = 1
    warmup: int = 0

    def __post_init__(self):
        check(
            self.fraction is None or self.threshold is None,
            "`fraction` must be None where a `threshold` is given.",
            fraction=self.fraction,
            threshold=self.threshold,
        )
        if self.fraction is None and self.threshold is None:
            # The object is frozen for all others.
            object.__setattr__(self, "fraction", 0.03)
        for name in ("fraction", "threshold"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_number(name, value))
        check(
            self.fraction is None or 0 < self.fraction < 1,
            "`fraction` must lie in (0, 1).",
            fraction=self.fraction,
        )
        check(
            self.threshold is None or self.threshold > 0,
            "`threshold` must be positive.",
            threshold=self.threshold,
        )
        as_integer("every", self.every)
        as_integer("warmup", self.warmup, least=0)

    def get_config(self) -> dict:
        """The options by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "Restart":
        """The object of such options."""
        return cls(**config)

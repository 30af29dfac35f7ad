"""Options that every training program has."""

import dataclasses
from typing import Literal

from keras_xf.checks import check
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of `apps.training.fit`. A program's own options inherit them.

    A subclass that checks its options in `__post_init__` calls
    `super().__post_init__()` first.
    """

    # The run.
    run_dir: str = option(
        "Run directory. Made if it is missing; a run that it holds goes on "
        "from its newest checkpoint."
    )
    init_from: str | None = option(
        "Weights that a new run begins with: a .keras file or a run directory "
        "with one. Ignored where the run goes on from a checkpoint.",
        None,
    )
    # Length.
    train_steps: int = option("Training steps in all.", 10_000)
    batch_size: int = option("Examples per step, over all devices.", 32)
    save_every_steps: int = option(
        "Steps from checkpoint to checkpoint; validation takes place there.",
        500,
    )
    keep_checkpoints: int = option("Newest checkpoints to keep.", 3)
    early_stopping_patience: int | None = option(
        "Stop after as many validations in a row without a new best.", None
    )
    max_train_seconds: float | None = option(
        "Stop at the last checkpoint that fits into this many seconds of "
        "training, counted over all starts of the run.",
        None,
    )
    # Optimizer.
    optimizer: Literal["adam", "adamw", "sgd", "adafactor", "lion", "muon"] = (
        option("Optimizer.", "adamw")
    )
    learning_rate: float = option("Highest learning rate.", 1e-3)
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = option(
        "How the learning rate falls after the warm-up. Linear and cosine end "
        "at train_steps: raise that later, and the rate rises again.",
        "cosine",
    )
    warmup_steps: int = option("Steps in which the rate rises from 0.", 0)
    final_fraction: float = option(
        "Fraction of the rate at which linear and cosine end.", 0.0
    )
    weight_decay: float = option(
        "Decoupled weight decay, of weights with two axes or more.", 0.0
    )
    beta_1: float | None = option(
        "Decay of the first moment (adam, adamw, lion) or momentum (sgd, "
        "muon); none: Keras's default for the optimizer.",
        None,
    )
    beta_2: float | None = option(
        "Decay of the second moment (adam, adamw, lion); none: Keras's default "
        "for the optimizer.",
        None,
    )
    clip_norm: float | None = option(
        "Largest norm of all gradients together; none: no clipping.", 1.0
    )
    # Devices.
    dtype_policy: Literal["float32", "mixed_bfloat16", "mixed_float16"] = (
        option("Precision of the computation.", "float32")
    )
    jit_compile: Literal["auto", "on", "off"] = option(
        "XLA; auto: on a single GPU, unless deterministic.", "auto"
    )
    strategy: Literal["none", "mirrored"] = option(
        "none: one device; mirrored: a copy of the model on each device.",
        "none",
    )
    devices: tuple[str, ...] = option(
        "Devices of --strategy=mirrored, such as gpu:0,gpu:1 or cpu:0,cpu:1; "
        "all GPUs if empty.",
        (),
    )
    # Repeatability.
    seed: int = option("Seed of weights, dropout and shuffling.", 0)
    deterministic: bool = option(
        "Repeat bitwise: the same run gives the same weights, cut off or not.",
        True,
    )
    # Reports.
    log_every_steps: int = option(
        "Steps between lines of progress where stderr is no terminal; 0: none.",
        100,
    )
    tensorboard: bool = option("Write scalars to the folder logs/.", False)

    def __post_init__(self):
        for name in ("train_steps", "batch_size", "save_every_steps"):
            _check_at_least(1, self, name)
        for name in ("keep_checkpoints", "early_stopping_patience"):
            _check_at_least(1, self, name)
        for name in ("warmup_steps", "log_every_steps", "weight_decay"):
            _check_at_least(0, self, name)
        for name in ("learning_rate", "clip_norm", "max_train_seconds"):
            value = getattr(self, name)
            check(
                value is None or value > 0,
                f"`{name}` must be positive.",
                **{name: value},
            )
        for name in ("beta_1", "beta_2"):
            value = getattr(self, name)
            check(
                value is None or 0 <= value < 1,
                f"`{name}` must lie in [0, 1).",
                **{name: value},
            )
        # What NumPy takes.
        check(
            0 <= self.seed < 2**32,
            "`seed` must lie in [0, 2**32).",
            seed=self.seed,
        )
        self._check_schedule()
        self._check_devices()

    def _check_schedule(self):
        ends = self.schedule in ("linear", "cosine")
        check(
            0 <= self.final_fraction <= 1,
            "`final_fraction` must lie in [0, 1].",
            final_fraction=self.final_fraction,
        )
        check(
            ends or self.final_fraction == 0,
            "`final_fraction` must be 0 unless `schedule` is linear or cosine.",
            final_fraction=self.final_fraction,
            schedule=self.schedule,
        )
        check(
            not ends or self.warmup_steps < self.train_steps,
            "`warmup_steps` must be less than `train_steps` where `schedule` "
            "is linear or cosine.",
            warmup_steps=self.warmup_steps,
            train_steps=self.train_steps,
            schedule=self.schedule,
        )

    def _check_devices(self):
        check(
            not self.devices or self.strategy == "mirrored",
            "`devices` must be empty unless `strategy` is mirrored.",
            devices=self.devices,
            strategy=self.strategy,
        )
        check(
            self.jit_compile != "on" or self.strategy == "none",
            "`jit_compile` must not be on where `strategy` is mirrored.",
            jit_compile=self.jit_compile,
            strategy=self.strategy,
        )


def _check_at_least(least, options, name):
    value = getattr(options, name)
    check(
        value is None or value >= least,
        f"`{name}` must be at least {least}.",
        **{name: value},
    )

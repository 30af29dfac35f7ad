"""Learning-rate schedules by name, for programs' options."""

from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule

from keras_xf.checks import check
from keras_xf.optimizers.inverse_square_root_decay import InverseSquareRootDecay
from keras_xf.optimizers.linear_warmup import LinearWarmup

DECAYS = ("constant", "linear", "cosine", "inverse_sqrt")


def make_schedule(
    learning_rate: float,
    *,
    warmup_steps: int = 0,
    total_steps: int | None = None,
    decay: str = "constant",
    final_fraction: float = 0.0,
) -> LearningRateSchedule:
    """Makes a schedule of linear warm-up and decay.

    Args:
        learning_rate: The highest rate, that of update `warmup_steps`.
        warmup_steps: Updates of the warm-up.
        total_steps: Updates in all, which `"linear"` and `"cosine"` need. They
            reach their end one step later: no update has a rate of zero.
        decay: What follows the warm-up, one of `DECAYS`. `"inverse_sqrt"` falls
            with `sqrt(warmup_steps / update)`, as the original Transformer's.
        final_fraction: Fraction of `learning_rate` at which `"linear"` and
            `"cosine"` end.

    Raises:
        ValueError: If an argument is out of range, or does nothing for this
            decay.
    """
    check(
        learning_rate > 0,
        "`learning_rate` must be positive.",
        learning_rate=learning_rate,
    )
    check(decay in DECAYS, f"`decay` must be one of {DECAYS}.", decay=decay)
    check(
        0 <= final_fraction <= 1,
        "`final_fraction` must lie in [0, 1].",
        final_fraction=final_fraction,
    )
    ends = decay in ("linear", "cosine")
    check(
        ends or final_fraction == 0,
        "`final_fraction` must be 0 where `decay` has no end.",
        final_fraction=final_fraction,
        decay=decay,
    )
    check(
        not ends or (total_steps is not None and total_steps > warmup_steps),
        "`total_steps` must be more than `warmup_steps` where `decay` has an "
        "end.",
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        decay=decay,
    )
    # A warm-up without steps is one of a single step, at the full rate.
    peak_step = max(warmup_steps, 1)
    if decay == "linear":
        schedule = schedules.PolynomialDecay(
            learning_rate,
            decay_steps=total_steps + 1 - peak_step,
            end_learning_rate=final_fraction * learning_rate,
        )
    elif decay == "cosine":
        schedule = schedules.CosineDecay(
            learning_rate,
            decay_steps=total_steps + 1 - peak_step,
            alpha=final_fraction,
        )
    elif decay == "inverse_sqrt":
        schedule = InverseSquareRootDecay(learning_rate, decay_steps=peak_step)
    else:
        schedule = learning_rate
    return LinearWarmup(schedule, warmup_steps)

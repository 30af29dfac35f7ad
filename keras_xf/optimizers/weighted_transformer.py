"""The optimizer of the Weighted Transformer (Ahmed et al., 2017)."""

import keras

from keras_xf.checks import check
from keras_xf.optimizers.frozen_after import FrozenAfter
from keras_xf.optimizers.grouped_optimizer import GroupedOptimizer
from keras_xf.optimizers.schedules import make_schedule

# Of the paper's 60,000 updates the last 10,000 leave branch weights alone. A
# run that is shorter has shorter warm-ups too.
_WARMUP_FRACTION = 0.1
_BRANCH_WARMUP_FRACTION = 0.01
_FREE_FRACTION = 0.85


def make_weighted_transformer_optimizer(
    *,
    hidden_dim: int,
    num_layers: int,
    total_steps: int | None = None,
    warmup_steps: int | None = None,
    branch_warmup_steps: int | None = None,
    free_steps: int | None = None,
    scale: float = 1.0,
    branch_scale: float = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.98,
    epsilon: float = 1e-9,
    global_clipnorm: float | None = None,
    gradient_accumulation_steps: int | None = None,
) -> keras.optimizers.Optimizer:
    """Makes an Adam whose branch weights have a rate of their own.

    At update `t`, counted from one, weights have the rate
    `hidden_dim**-0.5 * min(t**-0.5, t * warmup_steps**-1.5)` of Vaswani et al.,
    equation (3). Those named `kappa` and `alpha` have
    `(hidden_dim / num_layers)**-0.5 * min(t**-0.5, t *
    branch_warmup_steps**-1.5)`, and none after `free_steps`.

    Steps are updates: with `gradient_accumulation_steps` an update takes as
    many batches. Half precision needs a `keras.optimizers.LossScaleOptimizer`
    around it, which `compile` puts there by itself where "mixed_float16" is
    Keras's global policy, but not where a builder was given it as `dtype`.

    Where branch weights are a softmax, their logits have the rate.

    Args:
        hidden_dim: Width of the model.
        num_layers: Layers of a stack, 6 in the paper's base model: of encoder
            or decoder, not of both.
        total_steps: Updates of the whole run, where it is shorter than the
            paper's. Warm-ups are then a tenth and a hundredth of it, and branch
            weights stay as they are in its last 15 %.
        warmup_steps: Updates of the warm-up; 4000 if nothing else is said.
        branch_warmup_steps: Of the branch weights' warm-up; 400 likewise.
        free_steps: Updates in which branch weights move; all if nothing else is
            said.
        scale: Factor of the rate of ordinary weights.
        branch_scale: Factor of the rate of branch weights.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        global_clipnorm: Largest norm of all gradients together, or None.
        gradient_accumulation_steps: Batches of an update.

    Returns:
        A `GroupedOptimizer`, whose `learning_rate` is that of ordinary weights.

    Raises:
        ValueError: If an argument is out of range.

    Reference:
        [Ahmed et al., 2017](https://arxiv.org/abs/1711.02132), section 4
    """
    for name, value in {
        "hidden_dim": hidden_dim,
        "num_layers": num_layers,
        "total_steps": total_steps,
        "warmup_steps": warmup_steps,
        "branch_warmup_steps": branch_warmup_steps,
        "free_steps": free_steps,
        "scale": scale,
        "branch_scale": branch_scale,
    }.items():
        check(
            value is None or value > 0,
            f"`{name}` must be positive.",
            **{name: value},
        )
    if warmup_steps is None:
        warmup_steps = _share(total_steps, _WARMUP_FRACTION, 4000)
    moments = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    schedule = make_schedule(
        scale * (hidden_dim * warmup_steps) ** -0.5,
        warmup_steps=warmup_steps,
        decay="inverse_sqrt",
    )
    return GroupedOptimizer(
        keras.optimizers.Adam(schedule, name="adam", **moments),
        make_branch_group(
            hidden_dim=hidden_dim,
            num_layers=num_layers,
            total_steps=total_steps,
            warmup_steps=branch_warmup_steps,
            free_steps=free_steps,
            scale=branch_scale,
            **moments,
        ),
        global_clipnorm=global_clipnorm,
        gradient_accumulation_steps=gradient_accumulation_steps,
        name="weighted_transformer",
    )


def make_branch_group(
    *,
    hidden_dim: int,
    num_layers: int,
    total_steps: int | None = None,
    warmup_steps: int | None = None,
    free_steps: int | None = None,
    learning_rate: float | None = None,
    scale: float = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.98,
    epsilon: float = 1e-9,
) -> dict[str, keras.optimizers.Optimizer]:
    """Makes the optimizer of branch weights, beside any other of the rest.

    Args:
        hidden_dim: As in `make_weighted_transformer_optimizer`, and so are all
            that have the same names; steps are those of branch weights.
        num_layers: Likewise.
        total_steps: Likewise.
        warmup_steps: Likewise.
        free_steps: Likewise.
        learning_rate: The highest rate; the paper's if None.
        scale: Factor of the rate.
        beta_1: Likewise.
        beta_2: Likewise.
        epsilon: Likewise.

    Returns:
        A group as `GroupedOptimizer` takes it.
    """
    if warmup_steps is None:
        warmup_steps = _share(total_steps, _BRANCH_WARMUP_FRACTION, 400)
    if free_steps is None:
        free_steps = _share(total_steps, _FREE_FRACTION, None)
    if learning_rate is None:
        learning_rate = (hidden_dim / num_layers * warmup_steps) ** -0.5
    schedule = make_schedule(
        scale * learning_rate, warmup_steps=warmup_steps, decay="inverse_sqrt"
    )
    if free_steps is not None:
        schedule = FrozenAfter(schedule, free_steps)
    return {
        ".*/(kappa|alpha)(_logits)?": keras.optimizers.Adam(
            schedule,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            name="adam_branches",
        )
    }


def _share(total_steps, fraction, otherwise):
    if total_steps is None:
        return otherwise
    return max(1, round(fraction * total_steps))

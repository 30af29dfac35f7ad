"""The optimizer that the options ask for."""

import keras
import tensorflow as tf

from apps.training.options import TrainingOptions
from keras_xf.checks import check
from keras_xf.optimizers import GroupedOptimizer
from keras_xf.optimizers import make_schedule

_CLASSES = {
    "adam": keras.optimizers.Adam,
    # Keras's AdamW is this class, and refuses to be told of no decay.
    "adamw": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
    "adafactor": keras.optimizers.Adafactor,
    "lion": keras.optimizers.Lion,
    "muon": keras.optimizers.Muon,
}
# What `beta_1` and `beta_2` are called there.
_BETAS = {
    "adam": {"beta_1": "beta_1", "beta_2": "beta_2"},
    "adamw": {"beta_1": "beta_1", "beta_2": "beta_2"},
    "sgd": {"beta_1": "momentum"},
    "adafactor": {},
    "lion": {"beta_1": "beta_1", "beta_2": "beta_2"},
    "muon": {"beta_1": "momentum"},
}


def make_optimizer(
    options: TrainingOptions,
    variables: list,
    groups: dict[str, keras.optimizers.Optimizer] | None = None,
) -> keras.optimizers.Optimizer:
    """Makes the optimizer, not yet built, for the strategy in scope.

    Args:
        options: The options.
        variables: The model's trainable variables.
        groups: Optimizers of variables that have their own, as
            `keras_xf.optimizers.GroupedOptimizer` takes them.

    Raises:
        ValueError: If an option means nothing to this optimizer or schedule.
    """
    check(
        options.optimizer != "adam" or options.weight_decay == 0,
        "`weight_decay` must be 0 for adam; adamw has it.",
        weight_decay=options.weight_decay,
    )
    arguments = {}
    for name in ("beta_1", "beta_2"):
        value = getattr(options, name)
        known = _BETAS[options.optimizer]
        check(
            value is None or name in known,
            f"`{name}` must be none for this optimizer.",
            optimizer=options.optimizer,
            **{name: value},
        )
        if value is not None:
            arguments[known[name]] = value
    if options.optimizer == "muon":
        # Where it falls back to Adam: Keras's default would decay biases.
        arguments["adam_weight_decay"] = options.weight_decay or None
    optimizer_class = _CLASSES[options.optimizer]
    grouped_class = GroupedOptimizer
    clip_norm = options.clip_norm
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if clip_norm is not None and replicas > 1:
        optimizer_class, grouped_class = (
            (optimizer_class, _clipping_the_mean(grouped_class))
            if groups
            else (_clipping_the_mean(optimizer_class), grouped_class)
        )
        # Keras sums what was clipped over the replicas.
        clip_norm /= replicas
    optimizer = optimizer_class(
        make_schedule(
            options.learning_rate,
            warmup_steps=options.warmup_steps,
            total_steps=options.train_steps,
            decay=options.schedule,
            final_fraction=options.final_fraction,
        ),
        weight_decay=options.weight_decay or None,
        global_clipnorm=None if groups else clip_norm,
        # Names its variables; a name by default would count the instances.
        name=options.optimizer,
        **arguments,
    )
    if options.weight_decay:
        optimizer.exclude_from_weight_decay(
            var_list=[v for v in variables if len(v.shape) < 2]
        )
    if groups:
        return grouped_class(optimizer, groups, global_clipnorm=clip_norm)
    return optimizer


def _clipping_the_mean(optimizer_class):
    """Returns the class with gradients that are alike on all replicas.

    Keras clips the gradients of each replica and then sums them, which is not
    what one device does with the whole batch.
    """

    class Optimizer(optimizer_class):
        def apply(self, grads, trainable_variables=None):
            context = tf.distribute.get_replica_context()
            known = [grad for grad in grads if grad is not None]
            means = iter(context.all_reduce("MEAN", known))
            super().apply(
                [None if grad is None else next(means) for grad in grads],
                trainable_variables,
            )

    return Optimizer

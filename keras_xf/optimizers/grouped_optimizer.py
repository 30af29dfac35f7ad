"""An optimizer of its own for each group of variables."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.ops.logits import wide_dtype


@keras.saving.register_keras_serializable(package="keras_xf")
class GroupedOptimizer(keras.optimizers.MultiOptimizer):
    """Gives variables to optimizers by their paths, and acts as one of them.

    What `keras.optimizers.MultiOptimizer` lacks:

    - Gradients are clipped together, not group by group.
    - Gradients are summed here: a group counts updates, so that its schedule
      sees them and not the batches, and constraints are kept once an update.
    - It has a `learning_rate`, that of the rest, for callbacks and logs.

    Args:
        rest: Optimizer of the variables that are in no group.
        groups: Optimizers by regular expressions, which match whole paths of
            variables, as those of `keras.optimizers.OptimizerMap` do. All
            optimizers have names of their own, and neither clip nor accumulate
            gradients.
        global_clipnorm: Largest norm of all gradients together, or None.
        gradient_accumulation_steps: Batches whose mean gradient makes an
            update; None for one. Like Keras's own, it does not work under a
            strategy of several replicas.
        name: Its name.

    Example:

    >>> optimizer = keras_xf.optimizers.GroupedOptimizer(
    ...     keras.optimizers.Adam(1e-3, name="rest"),
    ...     {".*/kernel": keras.optimizers.Adam(1e-4, name="kernels")},
    ...     global_clipnorm=1.0,
    ... )
    """

    def __init__(
        self,
        rest: keras.optimizers.Optimizer,
        groups: dict[str, keras.optimizers.Optimizer],
        global_clipnorm: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "grouped_optimizer",
    ):
        optimizers = [*groups.values(), rest]
        names = [optimizer.name for optimizer in optimizers]
        check(
            len(set(names)) == len({id(each) for each in optimizers}),
            "`groups` and `rest` must have optimizers with names of their own.",
            names=names,
        )
        for optimizer in optimizers:
            for option in (
                *("clipnorm", "clipvalue", "global_clipnorm"),
                "gradient_accumulation_steps",
            ):
                value = getattr(optimizer, option)
                check(
                    value is None,
                    f"`{option}` must be given to the `GroupedOptimizer`.",
                    **{option: value},
                    optimizer=optimizer.name,
                )
        check(
            global_clipnorm is None or global_clipnorm > 0,
            "`global_clipnorm` must be positive.",
            global_clipnorm=global_clipnorm,
        )
        check(
            gradient_accumulation_steps is None
            or gradient_accumulation_steps >= 1,
            "`gradient_accumulation_steps` must be positive.",
            gradient_accumulation_steps=gradient_accumulation_steps,
        )
        super().__init__(
            keras.optimizers.OptimizerMap(rest, dict(groups)), name=name
        )
        self.rest = rest
        self.groups = dict(groups)
        self.global_clipnorm = global_clipnorm
        # Taken now: from a rate of zero they could not be worked out.
        self._ratios = {
            optimizer.name: _ratio(optimizer, rest) for optimizer in optimizers
        }
        # Keras has no 1. It makes the variables that sum gradients.
        if gradient_accumulation_steps == 1:
            gradient_accumulation_steps = None
        self.gradient_accumulation_steps = gradient_accumulation_steps

    @property
    def iterations(self):
        """Number of updates."""
        return self.rest.iterations

    @property
    def learning_rate(self):
        """That of `rest`; to set it multiplies those of all groups, too."""
        return self.rest.learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        check(
            all(isinstance(ratio, float) for ratio in self._ratios.values()),
            "`learning_rate` must not be set: how rates relate is not known, "
            "as there are schedules, or it was 0 when this was made.",
            learning_rate=value,
        )
        for optimizer in self.optimizers:
            optimizer.learning_rate = self._ratios[optimizer.name] * value

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is None:
            check(
                self.built,
                "`trainable_variables` must be given before the optimizer is "
                "built.",
                trainable_variables=trainable_variables,
            )
            trainable_variables = self._trainable_variables
        trainable_variables = list(trainable_variables)
        if not self.built:
            self.build(trainable_variables)
        steps = self.gradient_accumulation_steps
        if steps is None:
            self._update(grads, trainable_variables)
            return
        sums = [
            self._accumulated_gradients[self._get_variable_index(variable)]
            for variable in trainable_variables
        ]
        ops.cond(
            (self._iterations + 1) % steps == 0,
            lambda: self._update_from(sums, grads, trainable_variables),
            lambda: self._add(sums, grads),
        )

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "rest": serialize(self.rest),
            "groups": {
                path: serialize(optimizer)
                for path, optimizer in self.groups.items()
            },
            "global_clipnorm": self.global_clipnorm,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def deserialize(optimizer):
            return keras.saving.deserialize_keras_object(
                optimizer, custom_objects=custom_objects
            )

        groups = {
            path: deserialize(optimizer)
            for path, optimizer in config["groups"].items()
        }
        rest = deserialize(config["rest"])
        return cls(**{**config, "rest": rest, "groups": groups})

    def _update(self, grads, trainable_variables):
        super().apply(
            _clip(grads, self.global_clipnorm), list(trainable_variables)
        )

    def _update_from(self, sums, grads, trainable_variables):
        steps = self.gradient_accumulation_steps
        means = [
            (total if grad is None else grad + total) / steps
            for grad, total in zip(grads, sums, strict=True)
        ]
        self._update(means, trainable_variables)
        for total in sums:
            total.assign(ops.zeros_like(total))

    def _add(self, sums, grads):
        for grad, total in zip(grads, sums, strict=True):
            if grad is not None:
                total.assign_add(ops.cast(grad, total.dtype))
        # As an update does.
        self._iterations.assign_add(1)


def _ratio(optimizer, rest):
    """Of two rates, or None where one is a schedule."""
    rates = [each.get_config()["learning_rate"] for each in (optimizer, rest)]
    if all(isinstance(rate, float) for rate in rates) and rates[1]:
        return rates[0] / rates[1]
    return 1.0 if optimizer is rest and isinstance(rates[0], float) else None


def _clip(grads, limit):
    """Scales gradients so that their norm is no larger."""
    if limit is None:
        return grads
    known = [ops.convert_to_tensor(grad) for grad in grads if grad is not None]
    dtype = wide_dtype(*(grad.dtype for grad in known))
    norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(g, dtype))) for g in known))
    factor = limit / ops.maximum(norm, limit)
    clipped = iter(grad * ops.cast(factor, grad.dtype) for grad in known)
    return [None if grad is None else next(clipped) for grad in grads]

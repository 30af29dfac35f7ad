"""A layer as a pure function of its input, its weights and its state."""

import keras

from keras_xf.checks import check
from keras_xf.layers.wrapping import mask_arguments


class StatelessBranch:
    """Calls a layer as if its variables had other values, and keeps count.

    Args:
        layer: A layer, built, of one input whose output has its shape.
        place: Where it stands, for error messages.
        padding_mask: Boolean `(batch, length)`, or None.
        training: Whether the layer is trained. It is told outright: gradients
            are computed when the call around it is over.
    """

    def __init__(self, layer, *, place, padding_mask, training):
        self.layer = layer
        self.place = place
        self.arguments = {
            "training": training,
            **mask_arguments(layer, padding_mask),
        }
        self.keeps_record = getattr(layer, "keeps_record", False)

    def __call__(self, x, weights, state, record):
        """Calls the layer.

        Args:
            x: The input.
            weights: A tensor for each trainable variable.
            state: A tensor for each of the others.
            record: What an earlier call returned, or None.

        Returns:
            Outputs, state afterwards, and the layer's record, None if it keeps
            none.

        Raises:
            ValueError: If the layer does what cannot be done twice.
        """
        layer, arguments = self.layer, dict(self.arguments)
        if self.keeps_record:
            arguments |= (
                {"return_record": True}
                if record is None
                else {"record": record}
            )
        trainable = layer.trainable_variables
        fixed = layer.non_trainable_variables
        scope = keras.StatelessScope(
            [
                *zip(trainable, weights, strict=True),
                *zip(fixed, state, strict=True),
            ],
            collect_losses=True,
        )
        with scope:
            outputs = layer(x, **arguments)
        if self.keeps_record and record is None:
            outputs, record = outputs
        self._check(x, outputs, scope, weights)
        after = [scope.get_current_value(variable) for variable in fixed]
        return outputs, after, record

    def _check(self, x, outputs, scope, weights):
        layer = self.layer
        where = {"layer": layer.name, "place": self.place}
        shape = getattr(outputs, "shape", None)
        check(
            shape is not None and tuple(shape) == tuple(x.shape),
            "`blocks` must keep the shape of a stream.",
            inputs=tuple(x.shape),
            outputs=None if shape is None else tuple(shape),
            **where,
        )
        check(
            not scope.losses,
            "`blocks` must not add losses: they would be added twice.",
            losses=len(scope.losses),
            **where,
        )
        check(
            scope.state_mapping.keys() == {id(v) for v in layer.variables},
            "`blocks` must make their weights in `build`, and draw by seed "
            "generators of their own.",
            **where,
        )
        check(
            all(
                scope.get_current_value(variable) is weight
                for variable, weight in zip(
                    layer.trainable_variables, weights, strict=True
                )
            ),
            "`blocks` must not assign trainable weights.",
            **where,
        )

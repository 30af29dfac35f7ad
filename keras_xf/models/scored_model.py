"""A model that is trained on how well it predicted its targets."""

import inspect

import keras
import tensorflow as tf
from keras import ops

from keras_xf.checks import check
from keras_xf.metrics import BitsPerToken


class ScoredModel(keras.Model):
    """Trains a model by its scorer, which takes the targets as an input.

    Its loss is the mean of minus the targets' log-probabilities, over those
    that have a weight; `compile` takes an optimizer and neither losses nor
    metrics. Batches are those that a model of `logits` takes. What is saved to
    be served is `inner`.

    Attributes:
        inner: The functional model, which gives `log_probs`.

    Args:
        inner: The model.
        scorer: A model of the same layers, which takes `target_ids` as well
            and gives `nll`.
        name: Its name.

    Call arguments:
        inputs: A dict of the model's inputs, and in training and evaluation
            `target_ids` int32 `(batch, length)`.
        training: Whether to drop.

    Output shape:
        A dict of `log_probs` `(batch, length, vocabulary_size)`, or with
        targets of `nll` `(batch, length)`.

    Example:

    >>> scorer = keras_xf.models.build_language_model_scorer(model)
    >>> scored_model = keras_xf.models.ScoredModel(model, scorer)
    >>> scored_model.compile("adam")
    """

    def __init__(
        self,
        inner: keras.Model,
        scorer: keras.Model,
        name: str = "scored_model",
    ):
        super().__init__(name=name)
        self.inner = inner
        self._scorer = scorer
        self._mean = _Given(
            reduction="mean_with_sample_weight", name="mean_nll"
        )
        self._bits = BitsPerToken()
        self.built = True

    def call(self, inputs, training=False):
        if "target_ids" in inputs:
            outputs = self._scorer(inputs, training=training)
            return {"nll": outputs["nll"]}
        return self.inner(inputs, training=training)

    def train_step(self, data):
        return super().train_step(_with_targets(data))

    def test_step(self, data):
        return super().test_step(_with_targets(data))

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        nll = y_pred["nll"]
        weights = _only(sample_weight)
        if weights is None:
            places = ops.arange(ops.shape(nll)[1])
            weights = places < ops.cast(x["length"], "int32")[:, None]
        weights = ops.cast(weights, nll.dtype)
        self._bits.update_state_from_nats(nll, weights)
        loss = self._mean(nll, nll, sample_weight=weights)
        # Those of layers and regularizers, shared among replicas as that is.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for other in self.losses:
            loss += ops.sum(ops.cast(other, loss.dtype)) / replicas
        return loss

    def compile(self, *args, **kwargs):
        """Takes what `keras.Model.compile` does, but for losses and metrics."""
        bound = inspect.signature(keras.Model.compile).bind(
            self, *args, **kwargs
        )
        for name in ("loss", "metrics", "weighted_metrics"):
            value = bound.arguments.get(name)
            check(
                not value,
                f"`{name}` must not be given: the model has its loss and its "
                "metrics itself.",
                **{name: value},
            )
        return super().compile(*args, **kwargs)

    def save(self, *args, **kwargs):
        """Refused: `inner` is what is saved."""
        check(
            False,
            f"`{self.name}` must not be saved; its `inner` model is what goes "
            "into a file.",
            **{self.name: self.name},
        )


class _Given(keras.losses.Loss):
    """The loss that the model has computed itself."""

    def call(self, y_true, y_pred):
        return y_pred


def _with_targets(data):
    """Moves the targets where the model takes them."""
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    check(
        targets is not None,
        "`x` must be a data set of inputs and targets.",
        targets=targets,
    )
    return {**inputs, "target_ids": _only(targets)}, targets, weights


def _only(values):
    """The one tensor in a dict of one, or the tensor itself."""
    if not isinstance(values, dict):
        return values
    check(
        len(values) == 1,
        "`targets` must be of one output.",
        targets=sorted(values),
    )
    return next(iter(values.values()))

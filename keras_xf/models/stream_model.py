"""A language model that reads streams, with its memory as its own state."""

import inspect

import keras
import tensorflow as tf
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.models.scored_model import ScoredModel
from keras_xf.models.transformer_xl import build_transformer_xl_scorer
from keras_xf.models.transformer_xl import initial_memory
from keras_xf.text.special_ids import BOS


def with_memory(
    model: keras.Model,
    batch_size: int,
    *,
    evaluation_model: keras.Model | None = None,
    evaluation_batch_size: int | None = None,
    begin_id: int | None = BOS,
) -> "StreamModel":
    """Makes a model that keeps its memory between the steps of `fit`.

    Its batches are those of `keras_xf.data.streams`: row `r` of a batch goes on
    where row `r` of the batch before has ended. `compile` takes an optimizer
    and no loss, which is the mean of minus the targets' log-probabilities.

    Args:
        model: A model of `build_transformer_xl`.
        batch_size: Rows of a batch, over all replicas.
        evaluation_model: What `evaluate`, `predict` and the validation of `fit`
            run, a `transformer_xl_variant` of the model; the model if None.
        evaluation_batch_size: Rows of their batches; `batch_size` if None.
        begin_id: A row whose first token this is begins anew; by default the
            `BOS` of `keras_xf.text`. None for a vocabulary that has no such
            token, where `reset_memory` is all that makes training forget.

    Raises:
        ValueError: If an argument is out of range, or the batch cannot be
            shared evenly among the replicas of the strategy in scope.

    Example:

    >>> streams = ContiguousStreams(token_ids, 64, 16, target="log_probs")
    >>> stream_model = keras_xf.models.with_memory(model, batch_size=16)
    >>> stream_model.compile("adam")
    >>> stream_model.fit(
    ...     streams.dataset(), steps_per_epoch=streams.steps_per_epoch
    ... )
    """
    return StreamModel(
        model,
        batch_size,
        evaluation_model=evaluation_model,
        evaluation_batch_size=evaluation_batch_size,
        begin_id=begin_id,
    )


class StreamModel(ScoredModel):
    """What `with_memory` returns.

    Training has a memory of its own, evaluation has another. When they forget:

    - a row whose first token is `begin_id` begins anew, in both; the streams of
      `keras_xf.data.streams` begin each row with `BOS`, the default, and each
      epoch of `ContiguousStreams`;
    - evaluation begins with nothing at each call of `evaluate` (which `fit`
      makes to validate) and of `predict`;
    - `reset_memory()` empties the memory of training.

    Nothing else empties the memory of training: a second `fit` goes on with it.
    It is among the model's variables, so that a checkpoint of them resumes
    exactly; that of evaluation is not. Under a `tf.distribute` strategy each
    replica has the memory of its own rows. What is saved to be served is
    `inner`, which takes and gives the memory.

    Attributes:
        inner: The functional model.
        batch_size: Rows of a batch in training.

    Call arguments:
        inputs: A dict of `token_ids` int32 `(batch, length)` and `length` int32
            `(batch,)`, and in training and evaluation `target_ids` int32
            `(batch, length)`.
        training: Whether it is the memory of training that goes on.

    Output shape:
        A dict of `log_probs` `(batch, length, vocabulary_size)`, or with
        targets of `nll` `(batch, length)`.
    """

    def __init__(
        self,
        inner: keras.Model,
        batch_size: int,
        *,
        evaluation_model: keras.Model | None = None,
        evaluation_batch_size: int | None = None,
        begin_id: int | None = BOS,
    ):
        scorer = build_transformer_xl_scorer(inner)
        super().__init__(inner, scorer, name="stream_model")
        if begin_id is not None:
            begin_id = as_integer("begin_id", begin_id, least=0)
        self.begin_id = begin_id
        self.batch_size = as_integer("batch_size", batch_size)
        if evaluation_batch_size is None:
            evaluation_batch_size = batch_size
        self.evaluation_batch_size = as_integer(
            "evaluation_batch_size", evaluation_batch_size
        )
        self._evaluation_model = inner
        self._evaluation_scorer = self._scorer
        if evaluation_model is not None:
            # Not trainable ones: none are, where a model is frozen.
            own = {id(weight) for weight in inner.weights}
            check(
                own == {id(weight) for weight in evaluation_model.weights},
                "`evaluation_model` must be a variant of the model, with its "
                "very weights.",
                evaluation_model=evaluation_model.name,
            )
            self._evaluation_model = evaluation_model
            self._evaluation_scorer = build_transformer_xl_scorer(
                evaluation_model
            )
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for name in ("batch_size", "evaluation_batch_size"):
            rows = getattr(self, name)
            check(
                rows % replicas == 0,
                f"`{name}` must be divisible by the number of replicas.",
                **{name: rows},
                replicas=replicas,
            )
        self._memory = _Memory(inner, self.batch_size // replicas)
        self.memory_variables = self._memory.variables
        self._evaluation_memory = _Memory(
            self._evaluation_model, self.evaluation_batch_size // replicas
        )

    def call(self, inputs, training=False):
        if training:
            memory, model, scorer = self._memory, self.inner, self._scorer
        else:
            memory = self._evaluation_memory
            model, scorer = self._evaluation_model, self._evaluation_scorer
        inputs = memory.join(inputs, self.begin_id)
        scores = "target_ids" in inputs
        outputs = (scorer if scores else model)(inputs, training=training)
        memory.write(outputs)
        name = "nll" if scores else "log_probs"
        return {name: outputs[name]}

    def fit(self, x=None, *args, **kwargs):
        """Trains on data that are in order, as `keras.Model.fit` does.

        `shuffle`, which Keras has by default for all but a `tf.data` pipeline,
        must be False. A pipeline that shuffles by itself is not noticed.
        """
        bound = inspect.signature(keras.Model.fit).bind(
            self, x, *args, **kwargs
        )
        # Keras shuffles arrays by default, and leaves a pipeline as it is.
        is_pipeline = isinstance(x, tf.data.Dataset)
        shuffle = bound.arguments.setdefault("shuffle", not is_pipeline)
        check(
            not shuffle,
            "`shuffle` must be False: each batch goes on where the one before "
            "has ended.",
            shuffle=shuffle,
        )
        return super().fit(*bound.args[1:], **bound.kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, from a memory of nothing on."""
        self._evaluation_memory.reset()
        return super().evaluate(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """As `keras.Model.predict`, from a memory of nothing on."""
        self._evaluation_memory.reset()
        return super().predict(*args, **kwargs)

    def reset_memory(self) -> None:
        """Empties the memory of training."""
        self._memory.reset()


class _Memory:
    """A memory in variables, of the rows of one replica.

    Keras does not look into it: what of it belongs to a model is handed over.
    """

    def __init__(self, model, batch_size):
        self._batch_size = batch_size
        blank = initial_memory(model, batch_size)
        self._variables = {
            name: keras.Variable(
                value,
                dtype=value.dtype,
                trainable=False,
                autocast=False,
                # Each replica has its own rows, and its own values.
                aggregation="none",
                synchronization="on_read",
                name=name,
            )
            for name, value in blank.items()
        }

    @property
    def variables(self):
        return list(self._variables.values())

    def join(self, inputs, begin_id):
        """The inputs of rows, and what is remembered of these."""
        # A mismatch is told here: a state cannot take another batch.
        check(
            inputs["token_ids"].shape[0] in (None, self._batch_size),
            "`token_ids` must have as many rows as the memory.",
            shape=tuple(inputs["token_ids"].shape),
            batch_size=self._batch_size,
        )
        inputs = {
            name: tf.ensure_shape(x, (self._batch_size, *x.shape[1:]))
            for name, x in inputs.items()
        }
        memory, length = (
            self._variables[name].value for name in ("memory", "memory_length")
        )
        if begin_id is not None:
            begins = ops.equal(inputs["token_ids"][:, 0], begin_id)
            length = ops.where(begins, 0, length)
            # The memory as well: see `reset`.
            memory = ops.where(begins[:, None, None, None], 0.0, memory)
        return {**inputs, "memory": memory, "memory_length": length}

    def write(self, outputs):
        for name, variable in self._variables.items():
            variable.assign(outputs[name])

    def reset(self):
        # The memory as well: what is no number would be felt with a weight of
        # zero, too.
        for variable in self.variables:
            value = variable.value
            # One by one: replicas' own values have nothing to show as one.
            for own in getattr(value, "values", [value]):
                own.assign(ops.zeros(own.shape, own.dtype))

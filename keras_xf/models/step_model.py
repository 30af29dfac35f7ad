"""The form that all builders' step twins share."""

import dataclasses
from collections.abc import Callable

import keras


@dataclasses.dataclass(frozen=True)
class StepModel:
    """A model that takes a few positions at a time and keeps a state.

    Attributes:
        step: The function behind a call.
        initial_state: `initial_state(batch_size, max_length)` gives the state
            before the first position, a nested dict of batch-first tensors,
            with room for `max_length` positions.
        model: The model whose layers it works with.
        max_length: Largest number of positions, None if there is no limit.
        nll: `nll(token_ids, state, target_ids, length=None)` gives minus the
            log-probability of each target, `(batch, new_length)`, and the new
            state; None for a model that has no way there but the logits.

    Example:

    >>> step_model = keras_xf.models.build_language_model_step(model)
    >>> state = step_model.initial_state(batch_size=1, max_length=16)
    >>> logits, state = step_model(np.array([[7, 8, 9]]), state)
    >>> logits, state = step_model(np.array([[10]]), state)
    """

    step: Callable
    initial_state: Callable
    model: keras.Model
    max_length: int | None = None
    nll: Callable | None = None

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        outputs = self.model.output
        name = "logits" if "logits" in outputs else "log_probs"
        return outputs[name].shape[-1]

    def __call__(self, token_ids, state, length=None):
        """Takes the next positions of each row.

        Args:
            token_ids: Integer tensor `(batch, new_length)`.
            state: What `initial_state` or the last call returned.
            length: Integer `(batch,)`, how many of a row's new positions are
                real; they come first. All by default.

        Returns:
            The pair of logits `(batch, new_length, vocabulary_size)` and the
            new state.
        """
        return self.step(token_ids, state, length)


@dataclasses.dataclass(frozen=True)
class SourceStepModel(StepModel):
    """A step model that begins with a source, which it has read.

    Its `initial_state(source_ids, source_length, max_length)` takes integer
    tensors `(batch, source_length)` and `(batch,)`, and gives a state with room
    for `max_length` positions of the target. What it holds under `source` does
    not change.

    Example:

    >>> twin = keras_xf.models.build_sequence_to_sequence_step(model)
    >>> state = twin.initial_state(np.array([[7, 8]]), np.array([2]), 16)
    >>> logits, state = twin(np.array([[2]]), state)
    """

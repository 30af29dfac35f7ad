"""A Transformer-XL in a SavedModel, run here."""

from pathlib import Path

import numpy as np


class LocalModel:
    """Runs the signature `lm_step` of a SavedModel, by TensorFlow alone.

    It keeps nothing of what it is given: threads and conversations may share
    it.

    Args:
        saved_model: Folder of a version of a tokens bundle, or that of all its
            versions, of which the newest is taken.

    Attributes:
        folder: The version's folder.
        memory_shape: `(num_layers, memory_length, hidden_dim)`.
        vocabulary_size: Number of tokens.

    Raises:
        OSError: If there is no SavedModel.
        ValueError: If it has no `lm_step`.
    """

    def __init__(self, saved_model: str | Path):
        # Imported here, since a client of a server does without.
        import tensorflow as tf

        self.folder = _newest_version(Path(saved_model))
        # Kept, since signatures do not keep the model alive.
        self._model = tf.saved_model.load(str(self.folder))
        if "lm_step" not in self._model.signatures:
            raise ValueError(
                "`saved_model` must have the signature lm_step. Received: "
                f"saved_model={str(saved_model)!r} with the signatures "
                f"{sorted(self._model.signatures)}."
            )
        self._step = self._model.signatures["lm_step"]
        _, inputs = self._step.structured_input_signature
        self.memory_shape = tuple(inputs["memory"].shape[1:])
        outputs = self._step.structured_outputs
        self.vocabulary_size = outputs["log_probs"].shape[-1]

    def lm_step(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Reads the next tokens.

        Args:
            **inputs: The arrays `token_ids`, `length`, `memory` and
                `memory_length`.

        Returns:
            The arrays `log_probs`, `memory` and `memory_length`.
        """
        import tensorflow as tf

        outputs = self._step(
            **{name: tf.constant(x) for name, x in inputs.items()}
        )
        return {name: x.numpy() for name, x in outputs.items()}


def _newest_version(folder):
    versions = [p for p in folder.glob("[0-9]*") if p.name.isdecimal()]
    return max(versions, key=lambda p: int(p.name), default=folder)

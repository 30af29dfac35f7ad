"""What becomes one SavedModel."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text import Tokenizer

ASSETS = "assets"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Signatures that are served together, with all that they need.

    Attributes:
        module: Owns every variable and table that the signatures read.
        signatures: `tf.function`s by name, each with an `input_signature` of
            named specs and a dict of tensors as its result. One of them is
            "serving_default".
        requests: A small request, a dict of arrays, for each signature. They
            are replayed before the bundle is published.
        tokenizers: What a client needs to make and to read ids, by the name
            of its folder in `assets/`.
        limits: What requests must keep to, ready for JSON: goes into the
            manifest.
        core_ops_only: Whether the bundle must load where TensorFlow's own
            operations are all there is.
    """

    module: tf.Module
    signatures: Mapping[str, Callable]
    requests: Mapping[str, Mapping]
    tokenizers: Mapping[str, Tokenizer] = dataclasses.field(
        default_factory=dict
    )
    limits: Mapping[str, object] = dataclasses.field(default_factory=dict)
    core_ops_only: bool = False

    def __post_init__(self):
        check(
            set(self.requests) == set(self.signatures),
            "`requests` must hold one request for each signature.",
            requests=sorted(self.requests),
            signatures=sorted(self.signatures),
        )

    @functools.cached_property
    def traced(self) -> dict[str, Callable]:
        """The signatures as concrete functions, each traced once."""
        concrete = {
            id(function): function.get_concrete_function()
            for function in self.signatures.values()
        }
        return {
            name: concrete[id(function)]
            for name, function in self.signatures.items()
        }

    def save(self, directory: str | Path) -> None:
        """Writes the SavedModel, without any check.

        Args:
            directory: Made by this call.
        """
        with _quiet():
            tf.saved_model.save(
                self.module, str(directory), signatures=self.traced
            )
        for name, tokenizer in self.tokenizers.items():
            tokenizer.save(Path(directory) / ASSETS / name)


@contextlib.contextmanager
def _quiet():
    """Keeps back what TensorFlow tells while it saves.

    It is of no use to anyone, and names a folder that will soon be renamed.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    # Not the loggers' level: saving sets that itself.
    for logger in loggers:
        logger.addFilter(_is_warning)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_warning)


def _is_warning(record):
    return record.levelno >= logging.WARNING

"""What becomes one SavedModel."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.files import write_names
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
        requests: Small requests, each a dict of arrays, for each signature.
            They are replayed before the bundle is published, by servers while
            they load it, and shown to users: the first is the best example.
        tokenizers: What a client needs to make and to read ids, by the name
            of its folder in `assets/`.
        names: What ids stand for, in their order, by the name of the file in
            `assets/` that lists them, one a line.
        limits: What requests must keep to, ready for JSON: goes into the
            manifest.
        core_ops_only: Whether the bundle must load where TensorFlow's own
            operations are all there is.
        random_signatures: Names of signatures whose results are drawn.
        bad_requests: Requests that the graph must refuse, as pairs of a
            signature's name and a dict of arrays, by what is wrong with them.
        descriptions: What users are to read of the signatures: a sentence
            each, by name, under "signatures", "inputs" and "outputs". What is
            something else in one signature is named "<signature>.<name>" there.
    """

    module: tf.Module
    signatures: Mapping[str, Callable]
    requests: Mapping[str, Sequence[Mapping]]
    tokenizers: Mapping[str, Tokenizer] = dataclasses.field(
        default_factory=dict
    )
    names: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    limits: Mapping[str, object] = dataclasses.field(default_factory=dict)
    core_ops_only: bool = False
    random_signatures: Collection[str] = ()
    bad_requests: Mapping[str, tuple[str, Mapping]] = dataclasses.field(
        default_factory=dict
    )
    descriptions: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=dict
    )

    def __post_init__(self):
        with_requests = [name for name, some in self.requests.items() if some]
        check(
            set(with_requests) == set(self.signatures),
            "`requests` must hold requests for each signature.",
            requests=sorted(with_requests),
            signatures=sorted(self.signatures),
        )
        for name, used in [
            ("random_signatures", self.random_signatures),
            ("bad_requests", [bad[0] for bad in self.bad_requests.values()]),
        ]:
            check(
                set(used) <= set(self.signatures),
                f"`{name}` must name signatures of the bundle.",
                **{name: sorted(used)},
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
        for name, names in self.names.items():
            write_names(Path(directory) / ASSETS / name, names)


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

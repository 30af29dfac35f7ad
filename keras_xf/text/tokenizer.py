"""The interface that all tokenizers share, and their place in a directory."""

import abc
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.files import atomic_file

_FILE_NAME = "tokenizer.json"

_REGISTRY: dict[str, type["Tokenizer"]] = {}


class Tokenizer(tf.Module, abc.ABC):
    """Turns strings into token ids and back.

    `encode` and `decode` are made of graph operations: they can be called in a
    `tf.function`, in `tf.data` and in an exported signature. The ids below
    `special_ids.NUM_SPECIAL_IDS` never stand for text.

    A concrete tokenizer is decorated with `register_tokenizer`, so that
    `load_tokenizer` finds it by the name of its class.
    """

    @property
    @abc.abstractmethod
    def vocabulary_size(self) -> int:
        """Number of ids, special ids included."""

    @abc.abstractmethod
    def encode(self, text):
        """Turns strings into ids; adds neither `BOS` nor `EOS`.

        Args:
            text: String tensor `(batch,)`.

        Returns:
            A pair of int32 tensors: `token_ids` `(batch, length)`, filled with
            `PAD` up to the longest row, and `length` `(batch,)`. Where all
            strings are empty, `token_ids` is `(batch, 0)`.

        Raises:
            ValueError: If `text` is no string tensor of rank 1.
        """

    @abc.abstractmethod
    def decode(self, token_ids, length):
        """Turns ids into strings of valid UTF-8.

        Special ids are skipped, but for `UNK` where text can ask for it by a
        name. What is not valid UTF-8 becomes U+FFFD, since
        a server that answers in JSON copies the strings unchecked.

        Args:
            token_ids: Integer tensor `(..., length)`.
            length: Integer tensor `(...)`. Positions from there on are ignored.

        Returns:
            String tensor `(...)`.

        Raises:
            ValueError: If a dtype is no integer or the shapes do not fit.
            tf.errors.InvalidArgumentError: If an id before `length` lies
                outside of the vocabulary.
        """

    @abc.abstractmethod
    def encode_bytes(self, data: bytes) -> np.ndarray:
        """Turns one document, of any size, into an integer array `(length,)`.

        The ids are those of `encode`, made without a graph.
        """

    @abc.abstractmethod
    def get_config(self) -> dict:
        """Returns the constructor's arguments as values that JSON can hold."""

    def save(self, directory: str | Path) -> None:
        """Writes `tokenizer.json`, from which `load_tokenizer` reads.

        Args:
            directory: Made where it is missing.
        """
        path = Path(directory) / _FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"class": type(self).__name__, "config": self.get_config()}
        with atomic_file(path) as aside:
            aside.write_text(
                json.dumps(content, indent=2) + "\n", encoding="utf-8"
            )


def register_tokenizer(tokenizer_type: type[Tokenizer]) -> type[Tokenizer]:
    """Class decorator that makes a tokenizer known to `load_tokenizer`."""
    name = tokenizer_type.__name__
    check(
        name not in _REGISTRY,
        "`tokenizer_type` must have a class name that is not taken.",
        tokenizer_type=name,
    )
    _REGISTRY[name] = tokenizer_type
    return tokenizer_type


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """Makes the tokenizer that `Tokenizer.save` wrote to a directory.

    Args:
        directory: A directory that holds `tokenizer.json`.

    Raises:
        ValueError: If the file is missing, is not what `save` writes, or names
            a class that is not registered or does not take its configuration.
    """
    path = Path(directory) / _FILE_NAME
    check(
        path.is_file(),
        f"`directory` must hold a file {_FILE_NAME}.",
        directory=str(directory),
    )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, config = str(content["class"]), dict(content["config"])
    except (ValueError, TypeError, KeyError):
        check(
            False,
            f'`{_FILE_NAME}` must be {{"class": …, "config": {{…}}}}.',
            path=str(path),
        )
    check(
        name in _REGISTRY,
        f"`{_FILE_NAME}` must name a known class: {', '.join(_REGISTRY)}.",
        name=name,
        path=str(path),
    )
    try:
        return _REGISTRY[name](**config)
    except TypeError:
        check(
            False,
            f"`{_FILE_NAME}` must hold the arguments of {name}.",
            config=config,
            path=str(path),
        )

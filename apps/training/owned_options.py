"""Options that models of some kinds have and others have not."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras_xf.checks import check


def check_left_out(options: Any, names: Iterable[str], model: str) -> None:
    """Refuses options that mean nothing to a model of this kind.

    Args:
        options: A dataclass of options.
        names: Options that this kind has not; those that the dataclass does
            not have either are passed over.
        model: The kind of model.

    Raises:
        ValueError: If one of them has another value than its default.
    """
    defaults = {
        field.name: field.default for field in dataclasses.fields(options)
    }
    for name in names:
        if name in defaults:
            value = getattr(options, name)
            check(
                value == defaults[name],
                f"`{name}` must be left out: a {model} has none.",
                **{name: value},
                model=model,
            )

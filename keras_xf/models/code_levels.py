"""Levels of codes: what priors over them are told of their images."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_xf.checks import as_integer
from keras_xf.checks import check

# In the order in which they are written: the bottom is told of the whole top.
LEVEL_NAMES = (("code_ids",), ("top_code_ids", "bottom_code_ids"))


@dataclasses.dataclass(frozen=True)
class CodeLevel:
    """One of the images of codes that an image is encoded as.

    Attributes:
        ids: Name of the codes, such as "top_code_ids".
        shape: Height and width.
        num_codes: Number of codes.
    """

    ids: str
    shape: tuple[int, int]
    num_codes: int

    @property
    def name(self) -> str:
        """The name without what it ends with, as in "top_code"."""
        return self.ids.removesuffix("_ids")

    @property
    def logits(self) -> str:
        """Name of the codes' logits."""
        return f"{self.name}_logits"

    def input(self) -> keras.KerasTensor:
        """What a functional model takes the codes as."""
        return keras.Input(self.shape, dtype="int32", name=self.ids)


def code_levels(
    code_shapes: Mapping[str, Sequence[int]], num_codes: Mapping[str, int]
) -> list[CodeLevel]:
    """The levels in the order in which they are written.

    Args:
        code_shapes: Height and width by the codes' names: of `code_ids`, or of
            `top_code_ids` and `bottom_code_ids`, in any order.
        num_codes: Number of codes by the same names.

    Raises:
        ValueError: If names, shapes or numbers are others.
    """
    names = next((n for n in LEVEL_NAMES if set(n) == set(code_shapes)), None)
    check(
        names is not None,
        "`code_shapes` must be of `code_ids`, or of `top_code_ids` and "
        "`bottom_code_ids`.",
        code_shapes=code_shapes,
    )
    check(
        set(names) == set(num_codes),
        "`num_codes` must be of the names that `code_shapes` has.",
        num_codes=num_codes,
        code_shapes=code_shapes,
    )
    check(
        all(len(code_shapes[name]) == 2 for name in names),
        "`code_shapes` must be pairs of height and width.",
        code_shapes=code_shapes,
    )
    return [
        CodeLevel(
            ids=name,
            shape=tuple(
                as_integer("code_shapes", size) for size in code_shapes[name]
            ),
            num_codes=as_integer("num_codes", num_codes[name]),
        )
        for name in names
    ]


def class_input(num_classes: int | None) -> dict:
    """What a functional model takes classes as, by its name.

    Args:
        num_classes: Number of classes; None for none.

    Returns:
        A dict of `class_ids`, int32 `(batch,)`, empty without classes.
    """
    if num_classes is None:
        return {}
    return {"class_ids": keras.Input((), dtype="int32", name="class_ids")}


def levels_of(model: keras.Model) -> list[CodeLevel]:
    """The levels of a prior's model.

    Args:
        model: A model of `build_code_transformer` or `build_pixel_cnn`.

    Raises:
        ValueError: If it is another builder's.
    """
    inputs = model.input if isinstance(model.input, dict) else {}
    shapes = {
        name: tensor.shape[1:]
        for name, tensor in inputs.items()
        if name != "class_ids"
    }
    outputs = model.output if isinstance(model.output, dict) else {}
    numbers = {
        name: outputs[logits].shape[-1]
        for name in shapes
        if (logits := name.replace("_ids", "_logits")) in outputs
    }
    check(
        set(shapes) == set(numbers)
        and any(set(shapes) == set(names) for names in LEVEL_NAMES),
        "`model` must come from `build_code_transformer` or `build_pixel_cnn`.",
        model=model.name,
    )
    return code_levels(shapes, numbers)


def count_classes(model: keras.Model) -> int | None:
    """How many classes a prior knows, None if it knows of none.

    Args:
        model: A model of `build_code_transformer` or `build_pixel_cnn`.
    """
    numbers = [getattr(layer, "num_classes", None) for layer in model.layers]
    return next(filter(None, numbers), None)

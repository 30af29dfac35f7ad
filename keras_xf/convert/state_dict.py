"""The arrays of a checkpoint, checked by name and shape."""

from collections.abc import Mapping

import numpy as np

from keras_xf.checks import check

# So many names are told of at most.
_NUM_TOLD = 5


def take_arrays(
    state_dict: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    argument: str = "state_dict",
) -> dict[str, np.ndarray]:
    """Takes what a model needs out of a checkpoint that holds nothing else.

    Args:
        state_dict: Arrays by name.
        shapes: The shape that each array must have, by name.
        argument: What errors call the checkpoint.

    Returns:
        NumPy arrays by the names of `shapes`.

    Raises:
        ValueError: If names are missing or left over, or shapes differ.
    """
    missing = sorted(set(shapes) - set(state_dict))
    check(
        not missing,
        f"`{argument}` must have {len(missing)} arrays that it lacks.",
        missing=_first(missing),
    )
    left_over = sorted(set(state_dict) - set(shapes))
    check(
        not left_over,
        f"`{argument}` must not have {len(left_over)} arrays that the model "
        "has no place for.",
        left_over=_first(left_over),
    )
    arrays = {name: np.asarray(state_dict[name]) for name in shapes}
    for name, shape in shapes.items():
        check(
            arrays[name].shape == tuple(shape),
            f"`{argument}` must have {name!r} in the shape {tuple(shape)}.",
            shape=arrays[name].shape,
        )
    return arrays


def take_one(arrays: dict[str, np.ndarray], name: str, other: str) -> None:
    """Takes an array out that is another's under a second name.

    Files hold what a model shares under both names, or under one of them.

    Args:
        arrays: Arrays by name; has no `other` afterwards.
        name: The name that the array is to have.
        other: The second name.

    Raises:
        ValueError: If the two are not the same.
    """
    if other not in arrays:
        return
    second = np.asarray(arrays.pop(other))
    first = np.asarray(arrays.setdefault(name, second))
    requirement = (
        f"`state_dict` must have one array under the names {name!r} and "
        f"{other!r}."
    )
    check(
        first.shape == second.shape,
        requirement,
        shapes=[first.shape, second.shape],
    )
    check(
        np.array_equal(first, second),
        requirement,
        difference=float(np.max(np.abs(first - second))),
    )


def _first(names):
    return names[:_NUM_TOLD] + ["…"] * (len(names) > _NUM_TOLD)

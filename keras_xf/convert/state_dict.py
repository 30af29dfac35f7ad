"""The arrays of a checkpoint, checked by name and shape."""

from collections.abc import Mapping

import numpy as np

from keras_xf.checks import check

# So many names are told of at most.
_NUM_TOLD = 5


def take_arrays(
    state_dict: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Takes what a model needs out of a checkpoint that holds nothing else.

    Args:
        state_dict: Arrays by name.
        shapes: The shape that each array must have, by name.

    Returns:
        NumPy arrays by the names of `shapes`.

    Raises:
        ValueError: If names are missing or left over, or shapes differ.
    """
    missing = sorted(set(shapes) - set(state_dict))
    check(
        not missing,
        f"`state_dict` must have {len(missing)} arrays that it lacks.",
        missing=_first(missing),
    )
    left_over = sorted(set(state_dict) - set(shapes))
    check(
        not left_over,
        f"`state_dict` must not have {len(left_over)} arrays that the model "
        "has no place for.",
        left_over=_first(left_over),
    )
    arrays = {name: np.asarray(state_dict[name]) for name in shapes}
    for name, shape in shapes.items():
        check(
            arrays[name].shape == tuple(shape),
            f"`state_dict` must have {name!r} in the shape {tuple(shape)}.",
            shape=arrays[name].shape,
        )
    return arrays


def _first(names):
    return names[:_NUM_TOLD] + ["…"] * (len(names) > _NUM_TOLD)

"""Argument checks that all raise one form of error message."""

import sys
from numbers import Integral
from numbers import Real


def check(condition: object, requirement: str, **received: object) -> None:
    """Raises `ValueError` with the requirement and what was received.

    Args:
        condition: Truth value of the requirement.
        requirement: One sentence that names the argument in backquotes.
        **received: The offending values, by argument name.

    Raises:
        ValueError: If the condition is false.
    """
    if not condition:
        values = ", ".join(
            f"{name}={value!r}" for name, value in received.items()
        )
        raise ValueError(f"{requirement} Received: {values}.")


def as_integer(name: str, value: object, least: int = 1) -> int:
    """Returns a plain integer, which configs and shapes can hold.

    Args:
        name: The argument's name.
        value: An integer, of NumPy's types too.
        least: What it must be at least: 1, or 0.

    Raises:
        ValueError: If it is no integer, or less.
    """
    check(
        isinstance(value, Integral) and not isinstance(value, bool),
        f"`{name}` must be an integer.",
        **{name: value},
    )
    sign = "be positive" if least else "not be negative"
    check(value >= least, f"`{name}` must {sign}.", **{name: value})
    return int(value)


def as_number(name: str, value: object, kind: str = "a number") -> float:
    """Returns a plain number, which configs can hold.

    Args:
        name: The argument's name.
        value: A real number, of NumPy's types too.
        kind: What the argument may be, for the message.

    Returns:
        A float, or an int if it was an integer.

    Raises:
        ValueError: If it is no number, or not finite.
    """
    check(
        isinstance(value, Real) and not isinstance(value, bool),
        f"`{name}` must be {kind}.",
        **{name: value},
    )
    value = int(value) if isinstance(value, Integral) else float(value)
    # Not of NaN either, nor of an integer that no float holds.
    is_finite = abs(value) <= sys.float_info.max
    check(is_finite, f"`{name}` must be finite.", **{name: value})
    return value


def check_shape(
    name: str,
    shape: tuple[int | None, ...],
    layout: str,
    **sizes: int | None,
) -> None:
    """Raises `ValueError` unless a shape has the rank and sizes it must have.

    Args:
        name: The argument that has the shape.
        shape: Its shape; None where an axis is open.
        layout: The axes' names, as in "(batch, length, dim)" or "(batch, ...,
            dim)", where "..." stands for any number of axes.
        **sizes: What named axes must measure. None means that the axis must
            be known, whatever it measures; an open axis may have any size
            that is named here.

    Raises:
        ValueError: If rank or sizes differ.
    """
    axes = [axis.strip() for axis in layout.strip("()").split(",")]
    axes = [axis for axis in axes if axis]
    requirement = f"`{name}` must have the shape {layout}"
    named = [f"{axis}={size}" for axis, size in sizes.items() if size]
    if named:
        requirement += f" with {', '.join(named)}"
    sizes_fit = len(shape) == len(axes)
    if "..." in axes:
        place = axes.index("...")
        sizes_fit = len(shape) >= len(axes) - 1
        axes[place : place + 1] = ["..."] * (len(shape) - len(axes) + 1)
    for axis, size in zip(axes, shape, strict=False):
        if axis not in sizes:
            continue
        if sizes[axis] is None:
            sizes_fit &= size is not None
        elif size is not None:
            sizes_fit &= size == sizes[axis]
    check(sizes_fit, f"{requirement}.", shape=tuple(shape))

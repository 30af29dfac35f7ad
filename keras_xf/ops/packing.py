"""Several small numbers as one: codes of parts, bits."""

from keras import ops

from keras_xf.checks import check

ORDERS = ("little", "big")


def check_packable(base: int, digits: int) -> None:
    """Checks that packed numbers fit an int32.

    Args:
        base: Number of values that a digit has.
        digits: Number of digits.

    Raises:
        ValueError: If there are more than `2**31` numbers.
    """
    check(
        base**digits <= 2**31,
        "Packed indices must fit an int32.",
        base=base,
        digits=digits,
    )


def pack(digits, base: int, order: str = "little"):
    """Writes digits as one number, `sum_i digits[i] base**i`.

    Args:
        digits: Integer tensor `(..., number)`, each in `[0, base)`.
        base: Number of values that a digit has.
        order: Whether the first digit counts the least, "little", or the
            most, "big".

    Returns:
        int32 tensor `(...)`; -1 where any digit is negative.

    Raises:
        ValueError: If numbers would not fit, or the order is none of these.
    """
    number = digits.shape[-1]
    powers = _powers(base, number, order)
    digits = ops.cast(digits, "int32")
    packed = ops.sum(digits * powers, axis=-1)
    is_real = ops.all(digits >= 0, axis=-1)
    return ops.where(is_real, packed, -1)


def unpack(packed, base: int, number: int, order: str = "little"):
    """Reads the digits of numbers.

    Args:
        packed: Integer tensor `(...)`, each below `base**number`.
        base: Number of values that a digit has.
        number: Number of digits.
        order: As for `pack`.

    Returns:
        int32 tensor `(..., number)`; -1 where the number is negative. Of one
        that is too large the digit that counts the most is `base` or more.

    Raises:
        ValueError: If numbers would not fit, or the order is none of these.
    """
    powers = _powers(base, number, order)
    packed = ops.cast(packed, "int32")[..., None]
    digits = ops.maximum(packed, 0) // powers
    # The first of them is not cut, so that what is too large is noticed.
    is_first = powers == base ** (number - 1)
    digits = ops.where(is_first, digits, digits % base)
    return ops.where(packed >= 0, digits, -1)


def _powers(base, number, order):
    check(order in ORDERS, f"`order` must be one of {ORDERS}.", order=order)
    check_packable(base, number)
    powers = [base**place for place in range(number)]
    if order == "big":
        powers.reverse()
    return ops.convert_to_tensor(powers, dtype="int32")

"""Tests of keras_xf.checks."""

import math

import numpy as np
import pytest

from keras_xf.checks import as_number
from keras_xf.checks import check
from keras_xf.checks import check_shape


def test_check_restates_what_was_received():
    check(True, "`size` must be positive.", size=0)
    with pytest.raises(ValueError) as error:
        check(False, "`size` must be positive.", size=0, name="x")
    assert str(error.value) == (
        "`size` must be positive. Received: size=0, name='x'."
    )


@pytest.mark.parametrize(
    ("shape", "layout", "sizes"),
    [
        ((2, 3, 4), "(batch, length, dim)", {}),
        ((None, None, 4), "(batch, length, dim)", {"dim": 4}),
        ((None, None, 4), "(batch, length, dim)", {"dim": None}),
        ((2, 4), "(batch, ..., dim)", {"dim": 4}),
        ((2, 3, 3, 4), "(batch, ..., dim)", {"dim": 4}),
        ((None,), "(batch,)", {}),
        ((None, 4), "(batch, length)", {"batch": 3, "length": 4}),
    ],
)
def test_check_shape_accepts(shape, layout, sizes):
    check_shape("inputs", shape, layout, **sizes)


@pytest.mark.parametrize(
    ("shape", "layout", "sizes", "message"),
    [
        (
            (3, 4),
            "(batch, length, dim)",
            {},
            "`inputs` must have the shape (batch, length, dim). "
            "Received: shape=(3, 4).",
        ),
        (
            (2, 3, 5),
            "(batch, length, dim)",
            {"dim": 4},
            "`inputs` must have the shape (batch, length, dim) with dim=4. "
            "Received: shape=(2, 3, 5).",
        ),
        (
            (2, 3, None),
            "(batch, length, dim)",
            {"dim": None},
            "`inputs` must have the shape (batch, length, dim). "
            "Received: shape=(2, 3, None).",
        ),
        (
            (4,),
            "(batch, ..., dim)",
            {"dim": 4},
            "`inputs` must have the shape (batch, ..., dim) with dim=4. "
            "Received: shape=(4,).",
        ),
    ],
)
def test_check_shape_rejects(shape, layout, sizes, message):
    with pytest.raises(ValueError) as error:
        check_shape("inputs", shape, layout, **sizes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-2, -2),
        (0.5, 0.5),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
    ],
)
def test_a_number_is_a_plain_one(value, expected):
    found = as_number("size", value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "requirement"),
    [
        *((value, "a number") for value in ("0.5", [0.5], True, None, 1j)),
        *((value, "finite") for value in (math.inf, -math.inf, math.nan)),
    ],
)
def test_rejects_what_is_no_number(value, requirement):
    with pytest.raises(ValueError) as error:
        as_number("size", value)
    assert str(error.value) == (
        f"`size` must be {requirement}. Received: size={value!r}."
    )


def test_an_integer_beyond_floats_is_not_finite():
    with pytest.raises(ValueError, match="`size` must be finite"):
        as_number("size", 10**400)

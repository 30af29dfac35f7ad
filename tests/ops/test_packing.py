"""Tests of keras_xf.ops.packing."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.ops import packing


@pytest.mark.parametrize(
    ("order", "expected"), [("little", [2, 1, 1]), ("big", [1, 2, 2])]
)
def test_golden_case(order, expected):
    digits = tf.constant([[0, 1], [1, 0], [1, 0]])
    packed = packing.pack(digits, 2, order)
    assert packed.dtype == "int32"
    np.testing.assert_array_equal(packed, expected)
    np.testing.assert_array_equal(packing.unpack(packed, 2, 2, order), digits)


@pytest.mark.parametrize("order", packing.ORDERS)
@pytest.mark.parametrize(("base", "number"), [(2, 31), (128, 4), (7, 3)])
def test_digits_come_back(base, number, order):
    digits = np.random.default_rng(0).integers(0, base, (4, 5, number))
    digits[0, 0] = base - 1
    places = range(number) if order == "little" else range(number)[::-1]
    expected = sum(
        digits[..., place].astype("int64") * base**power
        for place, power in zip(range(number), places, strict=True)
    )
    packed = packing.pack(digits, base, order)
    np.testing.assert_array_equal(packed, expected)
    np.testing.assert_array_equal(
        packing.unpack(packed, base, number, order), digits
    )


def test_what_is_masked_stays_so():
    digits = np.array([[-1, -1], [2, 1]])
    packed = packing.pack(digits, 3)
    np.testing.assert_array_equal(packed, [-1, 5])
    np.testing.assert_array_equal(packing.unpack(packed, 3, 2), digits)


@pytest.mark.parametrize(("base", "number"), [(2, 32), (128, 5)])
def test_rejects_what_does_not_fit(base, number):
    message = (
        "Packed indices must fit an int32. "
        f"Received: base={base}, digits={number}."
    )
    for function in (
        lambda: packing.pack(np.zeros((2, number), "int32"), base),
        lambda: packing.unpack(np.zeros(2, "int32"), base, number),
    ):
        with pytest.raises(ValueError) as error:
            function()
        assert str(error.value) == message


def test_rejects_an_order():
    with pytest.raises(ValueError) as error:
        packing.pack(np.zeros((2, 2), "int32"), 3, "middle")
    assert str(error.value) == (
        "`order` must be one of ('little', 'big'). Received: order='middle'."
    )


@pytest.mark.parametrize(
    ("order", "expected"), [("little", [0, 3]), ("big", [3, 0])]
)
def test_what_is_too_large_is_noticed(order, expected):
    digits = packing.unpack(np.array([12]), 4, 2, order)
    np.testing.assert_array_equal(digits, [expected])
    digits = packing.unpack(np.array([17]), 4, 2, order)
    assert np.max(digits) >= 4

"""Tests of keras_xf.ops.sequences."""

import numpy as np
import pytest

from keras_xf.ops import sequences


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_padding_mask_marks_the_real_positions(dtype):
    mask = sequences.padding_mask(np.array([0, 2, 3, 9], dtype), 3)
    np.testing.assert_array_equal(
        mask,
        [[False] * 3, [True, True, False], [True] * 3, [True] * 3],
    )

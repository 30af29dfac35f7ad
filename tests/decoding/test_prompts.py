"""Tests of keras_xf.decoding.prompts."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.decoding import prepend_bos
from keras_xf.text.special_ids import BOS


def test_bos_stands_before_each_prompt():
    token_ids, length = prepend_bos([[7, 8, 0], [9, 0, 0]], [2, 1])
    np.testing.assert_array_equal(token_ids, [[BOS, 7, 8, 0], [BOS, 9, 0, 0]])
    np.testing.assert_array_equal(length, [3, 2])


def test_bos_makes_a_prompt_of_no_tokens():
    token_ids, length = prepend_bos(np.zeros((2, 0), "int32"), [0, 0])
    np.testing.assert_array_equal(token_ids, [[BOS], [BOS]])
    np.testing.assert_array_equal(length, [1, 1])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_bos_of_another_id_comes_as_int32(dtype):
    token_ids, length = prepend_bos(
        tf.constant([[7]], dtype), tf.constant([1], dtype), bos_id=5
    )
    assert token_ids.dtype == length.dtype == tf.int32
    np.testing.assert_array_equal(token_ids, [[5, 7]])

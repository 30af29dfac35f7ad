"""Tests of keras_xf.data.token_streams."""

import numpy as np
import pytest

from keras_xf.data import token_streams
from keras_xf.text import ByteTokenizer


class ManyTokens(ByteTokenizer):
    """A tokenizer with more ids than 16 bits can count."""

    @property
    def vocabulary_size(self):
        return 2**16 + 1


class JustFewEnoughTokens(ByteTokenizer):
    """A tokenizer whose largest id is the largest uint16."""

    @property
    def vocabulary_size(self):
        return 2**16


def test_every_document_ends_with_eos():
    token_ids = token_streams.documents_to_ids(
        [b"ab", b"", b"\xff"], ByteTokenizer()
    )
    np.testing.assert_array_equal(token_ids, [102, 103, 3, 3, 260, 3])


@pytest.mark.parametrize(
    ("tokenizer", "dtype"),
    [
        (ByteTokenizer(), np.uint16),
        (JustFewEnoughTokens(), np.uint16),
        (ManyTokens(), np.int32),
    ],
)
def test_ids_are_as_small_as_the_vocabulary_allows(tokenizer, dtype):
    token_ids = token_streams.documents_to_ids([b"ab"], tokenizer)
    assert token_ids.dtype == dtype
    np.testing.assert_array_equal(token_ids, [102, 103, 3])


def test_no_document_is_an_error():
    with pytest.raises(ValueError) as error:
        token_streams.documents_to_ids([], ByteTokenizer())
    assert str(error.value) == (
        "`documents` must have at least one document. Received: documents=[]."
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64"])
def test_stream_keeps_its_dtype_and_stays_off_the_accelerator(dtype):
    stream = token_streams.to_stream(np.arange(5, dtype=dtype))
    assert stream.dtype == dtype
    assert stream.device.endswith("CPU:0")
    np.testing.assert_array_equal(stream, np.arange(5))


@pytest.mark.parametrize(
    ("token_ids", "message"),
    [
        (
            np.zeros((2, 3), "int32"),
            "`token_ids` must be an integer array of shape (length,). "
            "Received: shape=(2, 3), dtype='int32'.",
        ),
        (
            np.zeros(3, "float32"),
            "`token_ids` must be an integer array of shape (length,). "
            "Received: shape=(3,), dtype='float32'.",
        ),
        (
            np.zeros(0, "uint16"),
            "`token_ids` must have at least one token. Received: shape=(0,).",
        ),
    ],
)
def test_rejects(token_ids, message):
    with pytest.raises(ValueError) as error:
        token_streams.to_stream(token_ids)
    assert str(error.value) == message

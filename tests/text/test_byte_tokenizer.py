"""Tests of keras_xf.text.ByteTokenizer."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.text import ByteTokenizer

# One to four bytes a character, NUL bytes, a byte order mark.
VALID = ["", "text", "naïve", "日本語", "😀", "\0", "a\0b\0", "\ufeffx", "\n"]

INVALID = [
    b"\xff\xfe",
    b"\x80",  # A lone continuation byte,
    b"a\xbfb",  # and one in the midst of text.
    b"\xe6\x97",  # A character cut off after two of three bytes.
    b"\xc0\x80",  # NUL in two bytes,
    b"\xed\xa0\x80",  # half of a surrogate pair,
    b"\xf4\x90\x80\x80",  # and a number above the last character.
]


@pytest.fixture
def tokenizer():
    return ByteTokenizer()


def encode_oracle(texts):
    rows = [[byte + 5 for byte in text] for text in texts]
    longest = max(map(len, rows), default=0)
    return [row + [0] * (longest - len(row)) for row in rows]


def test_vocabulary_is_the_bytes_after_five_special_ids(tokenizer):
    assert tokenizer.vocabulary_size == 261
    token_ids, _ = tokenizer.encode(["\0", b"\xff"])
    np.testing.assert_array_equal(token_ids, [[5], [260]])


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
@pytest.mark.parametrize(
    "texts",
    [[text.encode() for text in VALID], INVALID, [b"one"], [b"", b""]],
    ids=["valid", "invalid", "one", "empty"],
)
def test_encode_gives_padded_bytes_and_their_number(tokenizer, wrap, texts):
    token_ids, length = wrap(tokenizer.encode)(tf.constant(texts))
    assert token_ids.dtype == length.dtype == tf.int32
    np.testing.assert_array_equal(token_ids, encode_oracle(texts))
    np.testing.assert_array_equal(length, [len(text) for text in texts])


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_empty_batch_round_trips(tokenizer, wrap):
    token_ids, length = wrap(tokenizer.encode)(tf.constant([], tf.string))
    assert token_ids.shape == (0, 0)
    assert length.shape == (0,)
    assert token_ids.dtype == length.dtype == tf.int32
    text = wrap(tokenizer.decode)(token_ids, length)
    assert text.shape == (0,)
    assert text.dtype == tf.string


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_valid_text_round_trips(tokenizer, wrap):
    text = wrap(tokenizer.decode)(*tokenizer.encode(VALID))
    assert [piece.decode() for piece in text.numpy()] == VALID


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_invalid_text_degrades_as_in_python(tokenizer, wrap):
    text = wrap(tokenizer.decode)(*tokenizer.encode(INVALID))
    assert [piece.decode() for piece in text.numpy()] == [
        piece.decode("utf-8", errors="replace") for piece in INVALID
    ]


def test_random_bytes_degrade_as_in_python(tokenizer):
    generator = np.random.default_rng(0)
    # Mostly bytes above 127, where UTF-8 has its rules.
    texts = [generator.integers(100, 256, 40, "uint8") for _ in range(100)]
    texts = [text.tobytes() for text in texts]
    decoded = tokenizer.decode(*tokenizer.encode(texts)).numpy()
    assert [piece.decode() for piece in decoded] == [
        piece.decode("utf-8", errors="replace") for piece in texts
    ]


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16"])
def test_decode_skips_special_ids_and_what_lies_beyond_length(tokenizer, dtype):
    # 1000 is no id, but stands where nothing is read.
    token_ids = np.array([[2, 109, 0, 1, 110, 4, 3], [109] * 6 + [1000]], dtype)
    text = tokenizer.decode(token_ids, np.array([7, 2], dtype))
    np.testing.assert_array_equal(text, [b"hi", b"hh"])


def test_decode_takes_any_number_of_axes(tokenizer):
    token_ids, length = tokenizer.encode(list("abcdef"))
    np.testing.assert_array_equal(
        tokenizer.decode(
            tf.reshape(token_ids, (3, 2, 1)), tf.reshape(length, (3, 2))
        ),
        [[b"a", b"b"], [b"c", b"d"], [b"e", b"f"]],
    )
    assert tokenizer.decode([109, 110], 2).numpy() == b"hi"


def test_decode_rejects_ids_outside_of_the_vocabulary(tokenizer):
    for token_id in (261, -1):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"indices\[0,0\] = {token_id} is not in \[0, 261\)",
        ):
            tokenizer.decode([[token_id]], [1])


def test_encode_bytes_gives_the_ids_of_encode(tokenizer):
    for data in (b"", bytes(range(256))):
        token_ids = tokenizer.encode_bytes(data)
        assert token_ids.dtype == np.uint16
        np.testing.assert_array_equal(token_ids, tokenizer.encode([data])[0][0])


class Served(tf.Module):
    """What an exported text model does with its tokenizer."""

    def __init__(self):
        super().__init__()
        self.tokenizer = ByteTokenizer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, text):
        token_ids, length = self.tokenizer.encode(text)
        return {"token_ids": token_ids, "length": length}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
        ]
    )
    def decode(self, token_ids, length):
        return {"text": self.tokenizer.decode(token_ids, length)}


def test_saved_model_gives_the_same(tmp_path, tokenizer):
    module = Served()
    tf.saved_model.save(
        module,
        tmp_path,
        signatures={"encode": module.encode, "decode": module.decode},
    )
    signatures = tf.saved_model.load(tmp_path).signatures
    for texts in ([text.encode() for text in VALID] + INVALID, [b""], [b"a"]):
        encoded = signatures["encode"](text=tf.constant(texts))
        np.testing.assert_array_equal(
            encoded["token_ids"], encode_oracle(texts)
        )
        decoded = signatures["decode"](
            token_ids=encoded["token_ids"][:, tf.newaxis],
            length=encoded["length"][:, tf.newaxis],
        )
        # As lists: NumPy's strings of bytes lose the NUL bytes at their end.
        assert decoded["text"].numpy().tolist() == [
            [text.decode("utf-8", errors="replace").encode()] for text in texts
        ]


def test_graphs_have_only_operations_of_tensorflow_itself():
    module = Served()
    for function in (module.encode, module.decode):
        graph = function.get_concrete_function().graph.as_graph_def()
        nodes = list(graph.node)
        for inner in graph.library.function:
            nodes.extend(inner.node_def)
        names = {node.op for node in nodes}
        assert {"Placeholder", "Identity"} <= names
        assert [name for name in names if not hasattr(tf.raw_ops, name)] == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda tokenizer: tokenizer.encode("text"),
            "`text` must be a string tensor of shape (batch,). "
            "Received: dtype='string', shape=TensorShape([]).",
        ),
        (
            lambda tokenizer: tokenizer.encode([["text"]]),
            "`text` must be a string tensor of shape (batch,). "
            "Received: dtype='string', shape=TensorShape([1, 1]).",
        ),
        (
            lambda tokenizer: tokenizer.encode([1]),
            "`text` must be a string tensor of shape (batch,). "
            "Received: dtype='int32', shape=TensorShape([1]).",
        ),
        (
            lambda tokenizer: tokenizer.decode([[109.0]], [1]),
            "`token_ids` and `length` must be integer tensors. "
            "Received: token_ids='float32', length='int32'.",
        ),
        (
            lambda tokenizer: tokenizer.decode([[109]], [1.0]),
            "`token_ids` and `length` must be integer tensors. "
            "Received: token_ids='int32', length='float32'.",
        ),
        (
            lambda tokenizer: tokenizer.decode([[109]], [1, 1]),
            "`length` must have the shape of `token_ids` without its last "
            "axis. Received: token_ids=TensorShape([1, 1]), "
            "length=TensorShape([2]).",
        ),
        (
            lambda tokenizer: tokenizer.decode(109, 1),
            "`length` must have the shape of `token_ids` without its last "
            "axis. Received: token_ids=TensorShape([]), "
            "length=TensorShape([]).",
        ),
    ],
)
def test_rejects(tokenizer, call, message):
    with pytest.raises(ValueError) as error:
        call(tokenizer)
    assert str(error.value) == message

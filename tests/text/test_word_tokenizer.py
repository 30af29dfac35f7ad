"""Tests of keras_xf.text.WordTokenizer."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.text import WordTokenizer
from keras_xf.text import load_tokenizer

WORDS = ["the", "\n", "cat", "日本語", "a\0b", "naïve", "\u3000", "\ufffd"]
# What is odd about texts; the ids are worked out by hand.
TEXTS = {
    b"": [],
    b"the cat": [5, 7],
    b"  the   cat ": [5, 7],
    b"the\tcat\vthe\fcat": [5, 7, 5, 7],
    # A carriage return is whitespace, with a line feed behind it or not.
    b"the\r\ncat\rcat": [5, 6, 7, 7],
    b"\n\n the\n": [6, 6, 5, 6],
    b"the\ncat": [5, 6, 7],
    "日本語 naïve".encode(): [8, 10],
    # Whitespace beyond ASCII stands in words, or is one.
    "the\u3000cat \u3000".encode(): [1, 11],
    b"The cats <unk> dog": [1, 1, 1, 1],
    b"a\0b \0": [9, 1],
    b"\xff the\xff \xe6\x97": [1, 1, 1],
    b" \t ": [],
}
PROXIES = ["eager", "graph", "saved"]


class Served(tf.Module):
    """What an exported text model does with its tokenizer."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, text):
        token_ids, length = self.tokenizer.encode(text)
        return {"token_ids": token_ids, "length": length}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def decode(self, token_ids, length):
        return {"text": self.tokenizer.decode(token_ids, length)}


@pytest.fixture(scope="module")
def tokenizer():
    return WordTokenizer(WORDS)


@pytest.fixture(scope="module", params=PROXIES)
def functions(request, tokenizer, tmp_path_factory):
    """`encode` and `decode` as they are, in graphs, and from a SavedModel."""
    if request.param == "eager":
        return tokenizer.encode, tokenizer.decode
    if request.param == "graph":
        return tf.function(tokenizer.encode), tf.function(tokenizer.decode)
    module = Served(tokenizer)
    path = tmp_path_factory.mktemp("saved")
    tf.saved_model.save(
        module,
        path,
        signatures={"encode": module.encode, "decode": module.decode},
    )
    loaded = tf.saved_model.load(path)

    def encode(text):
        result = loaded.signatures["encode"](text=tf.constant(text, tf.string))
        return result["token_ids"], result["length"]

    def decode(token_ids, length):
        return loaded.signatures["decode"](
            token_ids=tf.constant(token_ids, tf.int32),
            length=tf.constant(length, tf.int32),
        )["text"]

    # Signatures do not keep the tables alive.
    encode.loaded = loaded
    return encode, decode


def test_ids_come_after_five_special_ids(tokenizer):
    assert tokenizer.vocabulary_size == 5 + len(WORDS)
    assert tokenizer.words == WORDS


def test_encode_gives_padded_ids_and_their_number(functions):
    encode, _ = functions
    token_ids, length = encode(list(TEXTS))
    assert token_ids.dtype == length.dtype == tf.int32
    rows = list(TEXTS.values())
    longest = max(map(len, rows))
    np.testing.assert_array_equal(
        token_ids, [row + [0] * (longest - len(row)) for row in rows]
    )
    np.testing.assert_array_equal(length, [len(row) for row in rows])


def test_encode_bytes_gives_the_ids_of_encode(tokenizer):
    for text, expected in TEXTS.items():
        token_ids = tokenizer.encode_bytes(text)
        assert token_ids.dtype == np.int32
        np.testing.assert_array_equal(token_ids, expected)


def test_random_bytes_have_the_same_ids_both_ways():
    generator = np.random.default_rng(0)
    # Mostly whitespace, `a`, NUL and bytes that are not valid UTF-8.
    alphabet = np.frombuffer(b" \t\n\v\f\r\x1c\x85\xa0\0aa\xc3\xa9", np.uint8)
    texts = [generator.choice(alphabet, 60).tobytes() for _ in range(100)]
    tokenizer = WordTokenizer.learn(texts)
    assert {"a", "\n", "\x1c", "é"} <= set(tokenizer.words)
    token_ids, length = tokenizer.encode(texts)
    for row, row_length, text in zip(token_ids, length, texts, strict=True):
        np.testing.assert_array_equal(
            row[:row_length], tokenizer.encode_bytes(text)
        )


@pytest.mark.parametrize("texts", [[], [b"", b" "]], ids=["none", "empty"])
def test_batches_without_words_round_trip(functions, texts):
    encode, decode = functions
    token_ids, length = encode(tf.constant(texts, tf.string))
    assert token_ids.shape == (len(texts), 0)
    np.testing.assert_array_equal(length, [0] * len(texts))
    text = decode(token_ids, length)
    np.testing.assert_array_equal(text, [b""] * len(texts))
    assert text.dtype == tf.string


def test_decode_gives_even_text_that_has_the_same_ids(functions):
    encode, decode = functions
    texts = {
        b"": b"",
        b" the  cat ": b"the cat",
        b"\n\n the \n\r\n cat\tcat\n": b"\n\nthe\n\ncat cat\n",
        b"The cat \xff <unk>": b"<unk> cat <unk> <unk>",
        "日本語\ta\0b".encode(): "日本語 a\0b".encode(),
    }
    token_ids, length = encode(list(texts))
    decoded = decode(token_ids, length).numpy().tolist()
    assert decoded == list(texts.values())
    again, _ = encode(decoded)
    np.testing.assert_array_equal(again, token_ids)


def test_decode_skips_special_ids_and_what_lies_beyond_length(functions):
    _, decode = functions
    # 1000 is no id, but stands where nothing is read.
    token_ids = [[2, 5, 0, 1, 6, 4, 7, 3], [7, 6] + [1000] * 6, [0] * 8]
    text = decode(token_ids, [8, 2, 8])
    np.testing.assert_array_equal(text, [b"the <unk>\ncat", b"cat\n", b""])


def test_decode_takes_any_number_of_axes(tokenizer):
    np.testing.assert_array_equal(
        tokenizer.decode([[[5, 7], [7, 0]]], [[2, 1]]), [[b"the cat", b"cat"]]
    )
    assert tokenizer.decode([5, 7], 2).numpy() == b"the cat"


def test_decode_rejects_ids_outside_of_the_vocabulary(tokenizer):
    for token_id in (13, -1):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"indices\[0,0\] = {token_id} is not in \[0, 13\)",
        ):
            tokenizer.decode([[token_id]], [1])


def test_works_in_a_data_set(tokenizer):
    texts = [b"the cat", b"dog\n"]
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(1)
    rows = [
        row.numpy().tolist()
        for row, _ in dataset.map(tokenizer.encode, num_parallel_calls=2)
    ]
    assert rows == [[[5, 7]], [[1, 6]]]


def test_graphs_have_only_operations_of_tensorflow_itself(tokenizer):
    module = Served(tokenizer)
    for function in (module.encode, module.decode):
        graph = function.get_concrete_function().graph.as_graph_def()
        nodes = list(graph.node)
        for inner in graph.library.function:
            nodes.extend(inner.node_def)
        names = {node.op for node in nodes}
        assert {"Placeholder", "Identity"} <= names
        assert [name for name in names if not hasattr(tf.raw_ops, name)] == []


def test_learns_words_by_falling_frequency():
    documents = [b"b a c a\n<unk> <unk>", b"\n c \xff \xff \xff a d <unk>"]
    learned = WordTokenizer.learn(documents)
    # A line feed comes before letters, as its character does.
    assert learned.words == ["a", "\n", "c", "b", "d"]
    assert learned.vocabulary_size == 10
    assert WordTokenizer.learn(documents, min_count=2).words == ["a", "\n", "c"]
    # Special ids count.
    few = WordTokenizer.learn(documents, vocabulary_size=7)
    assert few.words == ["a", "\n"]
    assert few.vocabulary_size == 7
    more = WordTokenizer.learn(documents, vocabulary_size=100)
    assert more.vocabulary_size == 10
    # Once through is enough.
    assert WordTokenizer.learn(iter(documents)).words == learned.words


def test_saved_tokenizer_loads_as_it_was(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is WordTokenizer
    assert loaded.words == WORDS
    # A whole file replaces it.
    WordTokenizer(["x"]).save(tmp_path)
    assert load_tokenizer(tmp_path).words == ["x"]
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {},
            "`tokenizer.json` must hold the arguments of WordTokenizer. "
            "Received: config={}, path=",
        ),
        (
            {"words": "the"},
            "`words` must be a list of at least one word. "
            "Received: words='the'.",
        ),
        (
            {"words": ["the", "a b"]},
            "`words` must be strings of valid Unicode without whitespace, or "
            r'"\n", and not "<unk>". Received: word='
            "'a b'.",
        ),
        (
            {"words": ["the", "cat", "the"]},
            "`words` must have no word twice. Received: twice=['the'].",
        ),
    ],
)
def test_wrong_files_are_named(tmp_path, config, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"class": "WordTokenizer", "config": config}))
    with pytest.raises(ValueError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "word", ["", " ", "\t", "\n\n", "a\n", "a\rb", "<unk>", "\udcff", b"a", 3]
)
def test_rejects_what_is_no_word(word):
    with pytest.raises(ValueError) as error:
        WordTokenizer(["the", word])
    assert str(error.value) == (
        "`words` must be strings of valid Unicode without whitespace, or "
        rf'"\n", and not "<unk>". Received: word={word!r}.'
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: WordTokenizer([]),
            "`words` must be a list of at least one word. Received: words=[].",
        ),
        (
            lambda: WordTokenizer.learn([b"a"], vocabulary_size=5),
            "`vocabulary_size` must exceed the 5 special ids. "
            "Received: vocabulary_size=5.",
        ),
        (
            lambda: WordTokenizer.learn([b"a"], min_count=0),
            "`min_count` must be positive. Received: min_count=0.",
        ),
        (
            lambda: WordTokenizer.learn([b"a", b" <unk> \xff"], min_count=2),
            "`documents` must have a word that occurs `min_count` times. "
            "Received: min_count=2.",
        ),
        (
            lambda: WordTokenizer(["a"]).encode("text"),
            "`text` must be a string tensor of shape (batch,). "
            "Received: dtype='string', shape=TensorShape([]).",
        ),
        (
            lambda: WordTokenizer(["a"]).decode([[5.0]], [1]),
            "`token_ids` and `length` must be integer tensors. "
            "Received: token_ids='float32', length='int32'.",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message

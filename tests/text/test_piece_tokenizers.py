"""Tests of SentencePieceTokenizer and WordPieceTokenizer."""

import base64
import io
import json

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from keras_xf.text import SPECIAL_WORDS
from keras_xf.text import ByteTokenizer
from keras_xf.text import SentencePieceTokenizer
from keras_xf.text import WordPieceTokenizer
from keras_xf.text import ids_that_break_lines
from keras_xf.text import load_tokenizer
from tests.text.test_word_tokenizer import Served

TEXTS = [
    b"The quick brown fox jumps over the lazy dog.\nThe dog is not quick.\n",
    "Ein Haus, zwei Häuser; drei häßliche Häuser.\nNaïve façade.".encode(),
    b"one two three four five six seven eight nine ten eleven twelve",
]
LINES = [line for text in TEXTS for line in text.splitlines()]
ODD = [
    b"",
    b"  The   dog  ",
    b"dog\tfox",
    "日本".encode(),
    b"\xff dog",
    b"Haus!",
]


@pytest.fixture(scope="module")
def unigram():
    return SentencePieceTokenizer.learn(TEXTS * 3, 60)


@pytest.fixture(scope="module")
def bpe():
    return SentencePieceTokenizer.learn(TEXTS * 3, 60, kind="bpe")


@pytest.fixture(scope="module")
def word_piece():
    return WordPieceTokenizer.learn(TEXTS * 9, 120)


@pytest.fixture(params=["unigram", "bpe", "word_piece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def rows(token_ids, length):
    return [
        row[:end].tolist()
        for row, end in zip(np.asarray(token_ids), length, strict=True)
    ]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_ids_are_those_of_the_package(request, kind):
    tokenizer = request.getfixturevalue(kind)
    peer = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    # What is not valid UTF-8 is not for the package.
    texts = [text for text in [*LINES, *ODD] if b"\xff" not in text]
    found = rows(*tokenizer.encode(texts))
    expected = [peer.encode(text.decode()) for text in texts]
    assert found == expected
    for text in texts:
        np.testing.assert_array_equal(
            tokenizer.encode_bytes(text), rows(*tokenizer.encode([text]))[0]
        )
    assert tokenizer.vocabulary_size == peer.vocab_size() == 60


def test_texts_come_back(tokenizer):
    token_ids, length = tokenizer.encode(LINES)
    assert token_ids.dtype == length.dtype == tf.int32
    assert (token_ids.numpy() < tokenizer.vocabulary_size).all()
    decoded = tokenizer.decode(token_ids, length).numpy()
    if isinstance(tokenizer, SentencePieceTokenizer):
        assert decoded.tolist() == LINES
    else:
        # But for spaces beside punctuation.
        assert [text.replace(b" ", b"") for text in decoded] == [
            text.replace(b" ", b"") for text in LINES
        ]


def test_special_ids_are_skipped(tokenizer):
    ids, length = tokenizer.encode([b"dog fox"])
    plain = tokenizer.decode(ids, length).numpy()[0]
    marked = tf.concat([[[2]], ids, [[3, 0, 4]]], axis=1)
    assert tokenizer.decode(marked, length + 4).numpy()[0] == plain
    # What is behind the length is ignored, and axes may be more.
    stacked = tokenizer.decode(
        tf.tile(marked[None], (2, 3, 1)), tf.fill((2, 3), length[0] + 1)
    )
    assert stacked.shape == (2, 3)
    assert (stacked.numpy() == plain).all()
    assert tokenizer.decode(np.zeros((2, 0), "int32"), [0, 0]).shape == (2,)
    empty = tokenizer.encode(tf.zeros([0], tf.string))
    assert tokenizer.decode(*empty).shape == (0,)


def test_ids_out_of_the_vocabulary_are_errors(tokenizer):
    for wrong in (tokenizer.vocabulary_size, -1):
        with pytest.raises(tf.errors.InvalidArgumentError):
            tokenizer.decode(np.array([[wrong]]), [1])


def test_saved_tokenizers_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    assert again.get_config() == tokenizer.get_config()
    json.loads((tmp_path / "tokenizer.json").read_text())
    assert rows(*again.encode(LINES)) == rows(*tokenizer.encode(LINES))


def test_runs_in_graphs_and_is_exported(tokenizer, tmp_path):
    module = Served(tokenizer)
    tf.saved_model.save(
        module,
        tmp_path,
        signatures={"encode": module.encode, "decode": module.decode},
    )
    loaded = tf.saved_model.load(tmp_path).signatures
    texts = [*LINES, *ODD]
    found = loaded["encode"](text=tf.constant(texts))
    token_ids, length = tokenizer.encode(texts)
    np.testing.assert_array_equal(found["token_ids"], token_ids)
    np.testing.assert_array_equal(found["length"], length)
    decoded = loaded["decode"](token_ids=token_ids, length=length)
    np.testing.assert_array_equal(
        decoded["text"], tokenizer.decode(token_ids, length)
    )


class Two(tf.Module):
    """Two tokenizers that are served together."""

    def __init__(self, *tokenizers):
        super().__init__()
        self.tokenizers = tokenizers

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, text):
        (first, _), (second, _) = (t.encode(text) for t in self.tokenizers)
        return {"first": first, "second": second}


def test_two_tokenizers_are_served_together(unigram, bpe, tmp_path):
    module = Two(unigram, bpe)
    signatures = {"serving_default": module.encode}
    tf.saved_model.save(module, tmp_path, signatures=signatures)
    loaded = tf.saved_model.load(tmp_path).signatures["serving_default"]
    found = loaded(text=tf.constant(LINES))
    np.testing.assert_array_equal(found["first"], unigram.encode(LINES)[0])
    np.testing.assert_array_equal(found["second"], bpe.encode(LINES)[0])


def test_learning_is_repeatable(unigram, word_piece):
    assert SentencePieceTokenizer.learn(TEXTS * 3, 60).model == unigram.model
    assert WordPieceTokenizer.learn(TEXTS * 9, 120).words == word_piece.words
    assert word_piece.words[:5] == SPECIAL_WORDS


def test_bytes_stand_for_unknown_characters():
    tokenizer = SentencePieceTokenizer.learn(TEXTS * 3, 315, byte_fallback=True)
    token_ids, length = tokenizer.encode(["日本 dog"])
    assert 1 not in token_ids.numpy()
    assert tokenizer.decode(token_ids, length).numpy()[0] == "日本 dog".encode()


def test_fast_gives_the_same_where_it_is_allowed(unigram, bpe):
    fast = SentencePieceTokenizer(unigram.model, fast=True)
    assert rows(*fast.encode(LINES)) == rows(*unigram.encode(LINES))
    with pytest.raises(ValueError) as error:
        SentencePieceTokenizer(bpe.model, fast=True)
    assert str(error.value) == (
        "`fast` needs a model of the kind \"unigram\". Received: kind='bpe'."
    )


def test_lower_case_reads_without_accents():
    tokenizer = WordPieceTokenizer([*SPECIAL_WORDS, "naive", "haus"], True)
    assert rows(*tokenizer.encode(["Naïve HAUS"])) == [[5, 6]]


def foreign_model():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line.decode() for line in LINES * 3),
        model_writer=model,
        vocab_size=60,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: SentencePieceTokenizer(b"nothing of the kind"),
            "`model` must be a SentencePiece model.",
        ),
        (
            lambda: SentencePieceTokenizer("%"),
            "`model` must be a SentencePiece model.",
        ),
        (
            lambda: SentencePieceTokenizer(base64.b64encode(b"").decode()),
            "`model` must be a SentencePiece model. "
            "Received: error='it has no pieces'.",
        ),
        (
            lambda: SentencePieceTokenizer(foreign_model()),
            "`model` must have the special ids, and a control piece as number "
            "4. Received: expected={'pad': 0, 'unk': 1, 'bos': 2, 'eos': 3, "
            "'mask': 4}, found={'pad': -1, 'unk': 0, 'bos': 1, 'eos': 2, "
            "'mask': -1}.",
        ),
        (
            lambda: SentencePieceTokenizer.learn(TEXTS, 90, kind="word"),
            "`kind` must be one of ('unigram', 'bpe'). Received: kind='word'.",
        ),
        (
            lambda: SentencePieceTokenizer.learn([b"a b"], 5000),
            "`documents` must suffice for `vocabulary_size`, and the options "
            "be SentencePiece's. Received: vocabulary_size=5000, error=",
        ),
        (
            lambda: WordPieceTokenizer(["a", "b"]),
            "`words` must begin with ('[PAD]', '[UNK]', '[BOS]', '[EOS]', "
            "'[MASK]'). Received: words=('a', 'b').",
        ),
        (
            lambda: WordPieceTokenizer([*SPECIAL_WORDS, "a", "a"]),
            "`words` must have no word twice. Received: twice=['a'].",
        ),
        (
            lambda: WordPieceTokenizer.learn(TEXTS, 5),
            "`vocabulary_size` must exceed the 5 special ids. "
            "Received: vocabulary_size=5.",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)


def test_ends_of_lines_are_found():
    plain = SentencePieceTokenizer.learn(TEXTS * 3, 60)
    assert ids_that_break_lines(plain) == ()
    tokenizer = SentencePieceTokenizer.learn(TEXTS * 3, 315, byte_fallback=True)
    found = ids_that_break_lines(tokenizer)
    texts = tokenizer.decode(
        np.array(found, "int32")[:, None], np.ones(len(found), "int32")
    )
    assert sorted(texts.numpy()) == [b"\t", b"\n", b"\r"]
    assert len(ids_that_break_lines(ByteTokenizer())) == 3

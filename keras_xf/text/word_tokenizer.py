"""Tokenizer whose tokens are words of a vocabulary, and ends of lines."""

import collections
import re
import types
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text.special_ids import NUM_SPECIAL_IDS
from keras_xf.text.special_ids import UNK
from keras_xf.text.tokenizer import Tokenizer
from keras_xf.text.tokenizer import register_tokenizer
from keras_xf.text.tokenizer_inputs import to_text
from keras_xf.text.tokenizer_inputs import to_token_ids

_UNKNOWN = "<unk>"
_NEWLINE = "\n"
# What `bytes.split` takes for whitespace, and bytes of no longer character.
_TOKEN = re.compile(rb"\n|[^ \n\t\r\v\f]+")


@register_tokenizer
class WordTokenizer(Tokenizer):
    r"""Reads each word of a vocabulary as an id, and each end of a line.

    Words are what stands between whitespace: spaces, tabs, line feeds, carriage
    returns, vertical tabs and form feeds. A line feed is a token of its own,
    which texts made for word-level models call `<eos>`; the other whitespace
    is no token. Nothing else is changed: case and punctuation stay, and bytes
    that are not valid UTF-8 belong to the word that they stand in. A word that
    is not in the vocabulary is `UNK`, and so is the text `<unk>`.

    `decode` puts one space between words, none beside an end of a line, and
    `<unk>` for `UNK`; the other special ids are skipped. So `decode(encode(
    text))` is the text with its whitespace made even and its unknown words
    replaced, and has the ids of the text.

    Only operations of TensorFlow itself are used: what is exported with this
    tokenizer loads where tensorflow_text is missing, and needs no other file.

    Args:
        words: The words in the order of their ids, the first of which is
            `NUM_SPECIAL_IDS`. `"\n"` among them is the end of a line.

    Example:

    >>> tokenizer = keras_xf.text.WordTokenizer.learn([b"a b a\n a c\n"])
    >>> tokenizer.words
    ['a', '\n', 'b', 'c']
    >>> token_ids, length = tokenizer.encode(["c  a\n", "d"])
    >>> token_ids.numpy()
    array([[8, 5, 6],
           [1, 0, 0]], dtype=int32)
    >>> tokenizer.decode(token_ids, length).numpy()
    array([b'c a\n', b'<unk>'], dtype=object)
    """

    def __init__(self, words: Sequence[str]):
        super().__init__(name="word_tokenizer")
        check(
            isinstance(words, list | tuple) and len(words) > 0,
            "`words` must be a list of at least one word.",
            words=words,
        )
        for word in words:
            check(
                _is_word(word),
                "`words` must be strings of valid Unicode without whitespace, "
                r'or "\n", and not "<unk>".',
                word=word,
            )
        texts = [word.encode() for word in words]
        first_ids = {}
        for token_id, text in enumerate(texts, NUM_SPECIAL_IDS):
            first_ids.setdefault(text, token_id)
        check(
            len(first_ids) == len(words),
            "`words` must have no word twice.",
            twice=[w for w, n in collections.Counter(words).items() if n > 1],
        )
        # `tf.Module` would wrap a dict, and not save one with such keys.
        self._id_of_text = types.MappingProxyType(first_ids)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(texts),
                tf.constant(list(first_ids.values()), tf.int64),
            ),
            default_value=UNK,
        )
        # Words with the space before them.
        texts = [b" " + t if t != _NEWLINE.encode() else t for t in texts]
        special = [b""] * NUM_SPECIAL_IDS
        special[UNK] = b" " + _UNKNOWN.encode()
        with tf.device("CPU:0"):
            self._text_of_id = tf.constant(special + texts)

    @classmethod
    def learn(
        cls,
        documents: Iterable[bytes],
        vocabulary_size: int | None = None,
        min_count: int = 1,
    ) -> "WordTokenizer":
        """Makes the tokenizer of the most frequent words.

        They are in the order of falling frequency, as adaptive softmax wants
        them, and those of one frequency in the order of their characters. Words
        that are not valid UTF-8 are left out.

        Args:
            documents: The bytes of texts.
            vocabulary_size: Most ids, special ids included; those of all words
                by default.
            min_count: How often a word has to occur.

        Raises:
            ValueError: If no word is left.
        """
        check(
            vocabulary_size is None or vocabulary_size > NUM_SPECIAL_IDS,
            f"`vocabulary_size` must exceed the {NUM_SPECIAL_IDS} special ids.",
            vocabulary_size=vocabulary_size,
        )
        check(
            min_count >= 1, "`min_count` must be positive.", min_count=min_count
        )
        counts = collections.Counter()
        for document in documents:
            counts.update(_TOKEN.findall(document))
        del counts[_UNKNOWN.encode()]
        words = {}
        for text, count in counts.items():
            word = text.decode(errors="ignore")
            if count >= min_count and word.encode() == text:
                words[word] = count
        check(
            words,
            "`documents` must have a word that occurs `min_count` times.",
            min_count=min_count,
        )
        ordered = sorted(words, key=lambda word: (-words[word], word))
        if vocabulary_size is not None:
            ordered = ordered[: vocabulary_size - NUM_SPECIAL_IDS]
        return cls(ordered)

    @property
    def words(self) -> list[str]:
        """The words in the order of their ids."""
        return [text.decode() for text in self._id_of_text]

    @property
    def vocabulary_size(self) -> int:
        return NUM_SPECIAL_IDS + len(self._id_of_text)

    def encode(self, text):
        text = tf.strings.regex_replace(to_text(text), r"[\t\r\v\f]", " ")
        text = tf.strings.regex_replace(text, "\n", " \n ")
        # At single spaces: the default would take the line feeds away.
        words = tf.strings.split(text, sep=" ")
        words = tf.ragged.boolean_mask(
            words, words.with_values(words.values != "")
        )
        token_ids = words.with_values(self._table.lookup(words.values))
        length = tf.cast(words.row_lengths(), tf.int32)
        # `PAD` is what `to_tensor` fills up with.
        return tf.cast(token_ids.to_tensor(), tf.int32), length

    def decode(self, token_ids, length):
        token_ids = to_token_ids(token_ids, length)
        pieces = tf.gather(self._text_of_id, token_ids)
        text = tf.strings.reduce_join(pieces, axis=-1)
        # The space before the first word of a line.
        return tf.strings.regex_replace(text, "(^|\n) ", r"\1")

    def encode_bytes(self, data: bytes) -> np.ndarray:
        ids = self._id_of_text
        return np.array(
            [ids.get(word, UNK) for word in _TOKEN.findall(data)], np.int32
        )

    def get_config(self) -> dict:
        return {"words": self.words}


def _is_word(word):
    if not isinstance(word, str) or word == _UNKNOWN:
        return False
    try:
        text = word.encode()
    except UnicodeEncodeError:
        return False
    return _TOKEN.fullmatch(text) is not None

"""Tokenizer whose tokens are pieces of words, as BERT has them."""

import collections
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text.piece_operations import decode_pieces
from keras_xf.text.piece_operations import import_tf_text
from keras_xf.text.special_ids import NUM_SPECIAL_IDS
from keras_xf.text.special_ids import UNK
from keras_xf.text.tokenizer import Tokenizer
from keras_xf.text.tokenizer import register_tokenizer
from keras_xf.text.tokenizer_inputs import to_text

SPECIAL_WORDS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "[MASK]")


@register_tokenizer
class WordPieceTokenizer(Tokenizer):
    """Reads words as the longest pieces of a vocabulary, from left to right.

    Words are what stands between whitespace and punctuation, each mark of
    which, and each Chinese character, is a word, too. Pieces that go on with a
    word begin with `##`. A word that pieces do not make up is `UNK`. `decode`
    puts spaces between all words.

    Needs tensorflow_text, here and where it was exported to.

    Args:
        words: The vocabulary, the special words before all others.
        lower_case: Whether to read words in lower case and without accents.

    Example:

    >>> tokenizer = keras_xf.text.WordPieceTokenizer(
    ...     [*keras_xf.text.SPECIAL_WORDS, "house", "##s", "!"]
    ... )
    >>> token_ids, length = tokenizer.encode(["houses!"])
    >>> token_ids.numpy()
    array([[5, 6, 7]], dtype=int32)
    >>> tokenizer.decode(token_ids, length).numpy()
    array([b'houses !'], dtype=object)

    Reference:
        [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
        [Song et al., 2021](https://arxiv.org/abs/2012.15524)
    """

    def __init__(self, words: Sequence[str], lower_case: bool = False):
        super().__init__(name="word_piece_tokenizer")
        check(
            tuple(words[:NUM_SPECIAL_IDS]) == SPECIAL_WORDS,
            f"`words` must begin with {SPECIAL_WORDS}.",
            words=tuple(words[:NUM_SPECIAL_IDS]),
        )
        check(
            len(set(words)) == len(words),
            "`words` must have no word twice.",
            twice=[w for w, n in collections.Counter(words).items() if n > 1],
        )
        self._words = tuple(words)
        self.lower_case = lower_case
        self._tokenizer = import_tf_text().FastBertTokenizer(
            list(words),
            token_out_type=tf.int32,
            unknown_token=SPECIAL_WORDS[UNK],
            lower_case_nfd_strip_accents=lower_case,
            support_detokenization=True,
        )

    @classmethod
    def learn(
        cls,
        documents: Iterable[bytes],
        vocabulary_size: int,
        lower_case: bool = False,
    ) -> "WordPieceTokenizer":
        """Learns a vocabulary, by tensorflow_text's own program.

        Args:
            documents: The bytes of texts.
            vocabulary_size: Most ids, special ids included; there may be a few
                less.
            lower_case: As the tokenizer takes it.
        """
        check(
            vocabulary_size > NUM_SPECIAL_IDS,
            f"`vocabulary_size` must exceed the {NUM_SPECIAL_IDS} special ids.",
            vocabulary_size=vocabulary_size,
        )
        import_tf_text()
        from tensorflow_text.tools.wordpiece_vocab import (
            bert_vocab_from_dataset,
        )

        lines = [line for text in documents for line in text.splitlines()]
        check(lines, "`documents` must have a line.", lines=len(lines))
        words = bert_vocab_from_dataset.bert_vocab_from_dataset(
            tf.data.Dataset.from_tensor_slices(lines).batch(1000),
            vocabulary_size,
            list(SPECIAL_WORDS),
            bert_tokenizer_params={"lower_case": lower_case},
        )
        return cls(words[:vocabulary_size], lower_case)

    @property
    def vocabulary_size(self) -> int:
        return len(self._words)

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary in the order of its ids."""
        return self._words

    def encode(self, text):
        token_ids = self._tokenizer.tokenize(to_text(text))
        length = tf.cast(token_ids.row_lengths(), tf.int32)
        # `PAD` is what `to_tensor` fills up with.
        return tf.cast(token_ids.to_tensor(), tf.int32), length

    def decode(self, token_ids, length):
        return decode_pieces(
            token_ids, length, len(self._words), self._tokenizer.detokenize
        )

    def encode_bytes(self, data: bytes) -> np.ndarray:
        token_ids, _ = self.encode([data])
        return token_ids.numpy()[0]

    def get_config(self) -> dict:
        return {"words": list(self._words), "lower_case": self.lower_case}

"""Strings to token ids and back, as graph operations that export."""

from keras_xf.text import special_ids
from keras_xf.text.byte_tokenizer import ByteTokenizer
from keras_xf.text.sentence_piece_tokenizer import SentencePieceTokenizer
from keras_xf.text.tokenizer import Tokenizer
from keras_xf.text.tokenizer import load_tokenizer
from keras_xf.text.tokenizer import register_tokenizer
from keras_xf.text.unwritten_ids import ids_that_break_lines
from keras_xf.text.unwritten_ids import unwritten_ids
from keras_xf.text.word_piece_tokenizer import SPECIAL_WORDS
from keras_xf.text.word_piece_tokenizer import WordPieceTokenizer
from keras_xf.text.word_tokenizer import WordTokenizer

__all__ = [
    "SPECIAL_WORDS",
    "ByteTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "WordTokenizer",
    "ids_that_break_lines",
    "load_tokenizer",
    "register_tokenizer",
    "special_ids",
    "unwritten_ids",
]

"""Tokenizer whose tokens are the 256 bytes."""

import numpy as np
import tensorflow as tf

from keras_xf.text.special_ids import NUM_SPECIAL_IDS
from keras_xf.text.special_ids import PAD
from keras_xf.text.tokenizer import Tokenizer
from keras_xf.text.tokenizer import register_tokenizer
from keras_xf.text.tokenizer_inputs import to_text
from keras_xf.text.tokenizer_inputs import to_token_ids

# What each id reads as. Special ids read as nothing.
_TEXT_OF_ID = [b""] * NUM_SPECIAL_IDS + [bytes([byte]) for byte in range(256)]


@register_tokenizer
class ByteTokenizer(Tokenizer):
    """Reads each byte `b` of a string as the id `b + NUM_SPECIAL_IDS`.

    Every string, valid UTF-8 or not, has ids of its own and `encode` loses
    nothing. `decode` gives valid UTF-8 back unchanged, NUL bytes included; each
    byte or torn character that is not valid UTF-8 becomes one U+FFFD, exactly
    as in Python's `bytes.decode("utf-8", errors="replace")`.

    Only operations of TensorFlow itself are used: what is exported with this
    tokenizer loads where tensorflow_text is missing.

    Example:

    >>> tokenizer = keras_xf.text.ByteTokenizer()
    >>> token_ids, length = tokenizer.encode(["hi", "h"])
    >>> token_ids.numpy()
    array([[109, 110],
           [109,   0]], dtype=int32)
    >>> tokenizer.decode(token_ids, length).numpy()
    array([b'hi', b'h'], dtype=object)
    """

    def __init__(self):
        super().__init__(name="byte_tokenizer")

    @property
    def vocabulary_size(self) -> int:
        return len(_TEXT_OF_ID)

    def encode(self, text):
        text = to_text(text)
        length = tf.strings.length(text, unit="BYTE")
        # The zero stands for an empty batch, which has no maximum.
        longest = tf.reduce_max(tf.concat([length, [0]], axis=0))
        # `decode_raw` fills up with zeros and cannot make rows of no length.
        rows = tf.io.decode_raw(
            text, tf.uint8, fixed_length=tf.maximum(longest, 1)
        )
        token_ids = tf.cast(rows[:, :longest], tf.int32) + NUM_SPECIAL_IDS
        mask = tf.sequence_mask(length, maxlen=longest)
        return tf.where(mask, token_ids, PAD), length

    def decode(self, token_ids, length):
        token_ids = to_token_ids(token_ids, length)
        pieces = tf.gather(tf.constant(_TEXT_OF_ID), token_ids)
        text = tf.strings.reduce_join(pieces, axis=-1)
        return tf.strings.unicode_transcode(
            text, "UTF-8", "UTF-8", errors="replace"
        )

    def encode_bytes(self, data: bytes) -> np.ndarray:
        # Cast first: NumPy 1 would add a small number in uint8.
        return np.frombuffer(data, np.uint8).astype(np.uint16) + NUM_SPECIAL_IDS

    def get_config(self) -> dict:
        return {}

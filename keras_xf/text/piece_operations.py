"""What tokenizers of pieces of words have in common."""

import tensorflow as tf

from keras_xf.text.special_ids import NUM_SPECIAL_IDS
from keras_xf.text.special_ids import UNK
from keras_xf.text.tokenizer_inputs import to_token_ids


def import_tf_text():
    """Returns tensorflow_text, which is an extra.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import tensorflow_text
    except ImportError as error:
        raise ImportError(
            "This tokenizer needs tensorflow_text: install keras_xf[text]."
        ) from error
    return tensorflow_text


def decode_pieces(token_ids, length, size: int, detokenize):
    """Decodes rows of ids of any shape as `Tokenizer.decode` does.

    Args:
        token_ids: What it is called with.
        length: Likewise.
        size: Number of ids.
        detokenize: Turns ragged rows of pieces into strings.
    """
    token_ids = tf.cast(to_token_ids(token_ids, length), tf.int32)
    token_ids = assert_known(token_ids, size)
    shape = tf.shape(token_ids)
    # In full: of an empty batch nothing could be worked out.
    rows = tf.reshape(token_ids, [tf.reduce_prod(shape[:-1]), shape[-1]])
    is_text = (rows >= NUM_SPECIAL_IDS) | (rows == UNK)
    text = detokenize(tf.ragged.boolean_mask(rows, is_text))
    return tf.reshape(text, shape[:-1])


def assert_known(token_ids, size: int):
    """Returns ids that have been found to be of the vocabulary.

    Args:
        token_ids: Integer tensor.
        size: Number of ids.
    """
    with tf.control_dependencies(
        [
            tf.debugging.assert_less(token_ids, size, "Ids of the vocabulary."),
            tf.debugging.assert_non_negative(token_ids),
        ]
    ):
        return tf.identity(token_ids)

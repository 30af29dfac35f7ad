"""What tokenizers of pieces of words have in common."""

import tensorflow as tf


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

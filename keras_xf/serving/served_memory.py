"""Language model that takes and gives its memory."""

import tensorflow as tf

from keras_xf.serving import requests
from keras_xf.serving.served_tokens import ServedTokens


class ServedMemory(tf.Module):
    """Reads some tokens of a conversation after what it remembers.

    What is remembered goes in and comes out: a weight would be shared by all
    clients. The function is to be traced with the signature of
    `transformer_xl_bundles`, which says what goes in and comes out.

    Args:
        served_tokens: The same on whole rows, of a model with a memory.
    """

    def __init__(self, served_tokens: ServedTokens):
        super().__init__(name="served_memory")
        self.served_tokens = served_tokens

    def lm_step(self, token_ids, length, memory, memory_length):
        """Gives log-probabilities of what comes next, and the new memory."""
        with requests.same_rows(
            token_ids=token_ids,
            length=length,
            memory=memory,
            memory_length=memory_length,
        ):
            return self._step(token_ids, length, memory, memory_length)

    def _step(self, token_ids, length, memory, memory_length):
        width = tf.shape(token_ids)[1]
        token_ids = requests.real_tokens(
            token_ids, length, self.served_tokens.vocabulary_size
        )
        memory, memory_length = requests.real_memory(memory, memory_length)
        outputs = self.served_tokens.step_model.model(
            {
                "token_ids": token_ids,
                "length": length,
                "memory": memory,
                "memory_length": memory_length,
            },
            training=False,
        )
        longest = tf.shape(token_ids)[1]
        is_real = tf.sequence_mask(length, maxlen=longest)[..., tf.newaxis]
        log_probs = tf.where(is_real, outputs["log_probs"], 0)
        padding = [[0, 0], [0, width - longest], [0, 0]]
        return {**outputs, "log_probs": tf.pad(log_probs, padding)}

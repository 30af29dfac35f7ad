"""Evaluation by TensorFlow Model Garden's Transformer-XL.

The package has the layers alone: embedding, positions, masks and softmax are
put around them here, as its XLNet has them. Masks and sinusoids, which no token
changes, are constants.
"""

import importlib.metadata

import answering
import evaluation_inputs
import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import transformer_xl


def prepare(case, sizes):
    """Evaluates the next segment of a stream, or a window."""
    model = TransformerXL(sizes)
    method = {"hidden": _memory, "window": _window}[sizes["method"]]
    call, facts = evaluation_inputs.prepare_evaluation(
        method(model, sizes), case, sizes, model.count_parameters()
    )
    versions = {
        "tensorflow": tf.__version__,
        "tf_keras": tf_keras.__version__,
        "tf-models-official": importlib.metadata.version("tf-models-official"),
    }
    return call, {**versions, **facts}


class TransformerXL:
    """The layers, with what they need around them."""

    def __init__(self, sizes):
        is_window = sizes["method"] == "window"
        heads, dim = sizes["num_heads"], sizes["hidden_dim"]
        memory = 0 if is_window else sizes["memory_length"]
        length = sizes["length" if is_window else "segment_length"]
        self.dim = dim
        self.initial = None
        if memory:
            self.initial = [
                tf.zeros((1, memory, dim)) for _ in range(sizes["num_layers"])
            ]
        weights = evaluation_inputs.evaluation_weights(sizes)
        self.embedding = tf.Variable(weights["embedding"])
        self.bias = tf.Variable(tf.zeros(sizes["vocabulary_size"]))
        self.positions = _sinusoids(
            memory + length, dim, sizes["clamp_length"]
        )[None]
        self.mask = _mask(length, memory)[None]
        self.layers = transformer_xl.TransformerXL(
            vocab_size=sizes["vocabulary_size"],
            num_layers=sizes["num_layers"],
            hidden_size=dim,
            num_attention_heads=heads,
            head_size=dim // heads,
            inner_size=sizes["intermediate_dim"],
            dropout_rate=0.0,
            attention_dropout_rate=0.0,
            initializer=tf_keras.initializers.Zeros(),
            memory_length=memory,
            # Its default, None, fails as soon as there is a memory.
            reuse_length=0,
        )
        # Builds them.
        self.hidden(tf.zeros((1, length), tf.int32), self.initial)
        self._assign(weights)

    def count_parameters(self):
        """Less the bias of segments, which XLNet alone uses."""
        unused = self.layers.segment_attention_bias
        variables = [self.embedding, self.bias, *self.layers.variables]
        sizes = [np.prod(each.shape) for each in variables]
        return sum(sizes) - np.prod(unused.shape)

    def hidden(self, token_ids, memory):
        """Hidden states `(1, length, dim)`, and the memory after them."""
        x = tf.gather(self.embedding, token_ids) * self.dim**0.5
        return self.layers(
            content_stream=x,
            relative_position_encoding=self.positions,
            state=memory,
            content_attention_mask=self.mask,
        )

    def losses(self, hidden, target_ids):
        """Negative log-likelihoods of targets."""
        logits = tf.matmul(hidden[0], self.embedding, transpose_b=True)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            target_ids[0], logits + self.bias
        )

    def _assign(self, weights):
        layers = self.layers
        layers.content_attention_bias.assign(weights["content_bias"])
        layers.positional_attention_bias.assign(weights["position_bias"])
        for index, block in enumerate(layers.transformer_xl_layers):
            attention = block._attention_layer
            kernels = {
                "query": attention._query_dense,
                "key": attention._key_dense,
                "value": attention._value_dense,
                "position": attention._encoding_dense,
                "output": attention._output_dense,
                "widen": block._inner_dense,
                "narrow": block._output_dense,
            }
            for name, dense in kernels.items():
                kernel = weights[name][index]
                # That of heads is split in three.
                dense.kernel.assign(kernel.reshape(dense.kernel.shape))


def _sinusoids(source_length, dim, clamp_length):
    """Of all distances from that of the first key, and one more, down to 0."""
    distances = np.arange(source_length, -1, -1.0)
    distances = np.minimum(distances, clamp_length)
    rates = 10000.0 ** (-np.arange(0, dim, 2) / dim)
    angles = distances[:, None] * rates
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    return tf.constant(table, tf.float32)


def _mask(length, memory):
    """The layers themselves look ahead, and further back than a memory."""
    places = np.arange(length)[:, None] + memory
    distances = places - np.arange(memory + length)
    mask = distances >= 0
    return tf.constant(mask & (distances < memory) if memory else mask)


def _memory(model, sizes):
    @tf.function(jit_compile=sizes["xla"], autograph=False)
    def step(token_ids, target_ids, memory):
        hidden, memory = model.hidden(token_ids, memory)
        return model.losses(hidden, target_ids), memory

    memory = model.initial

    def evaluate(token_ids, target_ids):
        nonlocal memory
        losses, memory = step(
            tf.constant(token_ids), tf.constant(target_ids), memory
        )
        return losses.numpy()

    return evaluate


def _window(model, sizes):
    @tf.function(jit_compile=sizes["xla"], autograph=False)
    def step(token_ids, target_ids):
        hidden, _ = model.hidden(token_ids, None)
        return model.losses(hidden[:, -1:], target_ids[:, -1:])

    def evaluate(token_ids, target_ids):
        return step(tf.constant(token_ids), tf.constant(target_ids)).numpy()

    return evaluate


if __name__ == "__main__":
    answering.answer(prepare)

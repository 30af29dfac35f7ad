"""Local self-attention in chunks, the Reformer's (Kitaev et al., 2020)."""

import math

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.layers.multi_head_layer import MultiHeadLayer
from keras_xf.ops import chunk_step
from keras_xf.ops import chunks
from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_windows import ChunkWindows


@keras.saving.register_keras_serializable(package="keras_xf")
class ChunkedSelfAttention(MultiHeadLayer):
    """Lets each position of a sequence attend to those near it.

    The sequence is cut into chunks of equal length. A chunk attends to itself
    and to those around it, with `softmax(query key / sqrt(key_dim))`; time
    and memory are linear in the length. A sequence no longer than a chunk
    gets dense attention.

    Positions where `padding_mask` is False are not attended to; their own
    outputs carry no meaning.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and of a key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        chunk_length: Number of positions in a chunk. The default is that of
            the reference implementations.
        chunks_before: Number of chunks before its own that a chunk sees.
        chunks_after: Number of chunks after its own that a chunk sees; 0 if
            `causal`.
        causal: Whether a position attends only to itself and to those before.
        dropout: Fraction of the attention weights dropped in training.
        seed: Seed of the dropout.
        reference_compatible: Whether the first chunk sees the last one, and
            the last the first, as in what the published checkpoints were
            trained with; if causal it matters only to sequences of no more
            chunks than `chunks_before`.
        kernel_initializer: Initializer of the projections, which have no
            biases. They are `query_key_value` `(dim, num_heads * (2 * key_dim
            + value_dim))` and `output_projection` `(num_heads * value_dim,
            dim)`, where the heads come first, and in each the query.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`.
        padding_mask: Boolean `(batch, length)`, True where an input is real.
            With a state, the real inputs of a row must come first: the next
            call goes on after them, and the rest leaves nothing behind.
        state: None, or what `initial_state` or the last call returned. The
            layer must be causal.
        mask: The mask that Keras passes on, such as that of an `Embedding`
            with `mask_zero=True`; joined with `padding_mask`.
        training: Whether to drop attention weights.

    Output shape:
        `(batch, length, dim)`; with a state a pair of this and the new state.

    Example:

    >>> layer = keras_xf.layers.ChunkedSelfAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((2, 256, 8))).shape
    TensorShape([2, 256, 8])

    Reference:
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        chunk_length: int = 64,
        chunks_before: int = 1,
        chunks_after: int = 0,
        causal: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        reference_compatible: bool = False,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(
            num_heads,
            key_dim,
            value_dim,
            causal=causal,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            seed=seed,
            **kwargs,
        )
        self._windows = ChunkWindows(
            chunk_length,
            chunks_before,
            chunks_after,
            wrap="rounds" if reference_compatible else None,
        )
        check(
            not causal or chunks_after == 0,
            "`chunks_after` must be 0 if `causal`.",
            chunks_after=chunks_after,
        )
        self.chunk_length = self._windows.chunk_length
        self.chunks_before = self._windows.chunks_before
        self.chunks_after = self._windows.chunks_after
        self.reference_compatible = reference_compatible

    def build(self, input_shape):
        self._build_projections(
            input_shape, query_key_value=2 * self.key_dim + self._value_dim
        )

    def call(
        self, inputs, padding_mask=None, state=None, mask=None, training=False
    ):
        padding_mask = self._check_call(inputs, padding_mask, mask, state)
        arguments = {
            "windows": self._windows,
            "padding_mask": padding_mask,
            "dropout": self.dropout if training else 0.0,
        }
        if arguments["dropout"]:
            arguments["seed"] = stateless_random.draw(self.seed_generator)
        query, key, value = ops.split(
            self._project_three(inputs),
            [self.key_dim, 2 * self.key_dim],
            axis=-1,
        )
        query = query * (1 / math.sqrt(self.key_dim))
        if state is None:
            outputs, _ = chunks.attend(
                query, key, value, causal=self.causal, **arguments
            )
        else:
            outputs, state = chunk_step.attend_next(
                query, key, value, state, **arguments
            )
        outputs = self._join_heads(outputs)
        return outputs if state is None else (outputs, state)

    def get_config(self):
        return {
            **super().get_config(),
            "chunk_length": self.chunk_length,
            "chunks_before": self.chunks_before,
            "chunks_after": self.chunks_after,
            "reference_compatible": self.reference_compatible,
        }

"""The reversible stack of the Reformer, put together from its layers."""

import dataclasses
import math
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.layers import AxialPositionEmbedding
from keras_xf.layers import ChunkedFeedForward
from keras_xf.layers import ChunkedSelfAttention
from keras_xf.layers import Dropout
from keras_xf.layers import FeedForward
from keras_xf.layers import LearnedPositions
from keras_xf.layers import LSHSelfAttention
from keras_xf.layers import PaddedLength
from keras_xf.layers import ReversibleSequence
from keras_xf.layers import SelfAttention
from keras_xf.layers import Sublayer
from keras_xf.layers import TokenEmbedding
from keras_xf.models.seeds import Seeds
from keras_xf.ops import lsh_hashing

ATTENTION = ("lsh", "chunked", "dense")
POSITIONS = ("axial", "learned")
# Of attention layers, what builders decide.
_OWN_ARGUMENTS = {
    "causal",
    "dtype",
    "kernel_initializer",
    "name",
    "num_heads",
    "reference_compatible",
    "seed",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReversibleStack:
    """What Reformer models have in common: ids to normalized vectors.

    The arguments are described in `build_reformer_language_model`.
    """

    vocabulary_size: int
    max_length: int
    num_layers: int | None
    hidden_dim: int
    num_heads: int
    key_dim: int | None
    intermediate_dim: int
    activation: str
    attention: Sequence[str]
    chunk_length: int
    num_hashes: int
    lsh: Mapping | None
    chunked: Mapping | None
    feed_forward_chunk_length: int | None
    positions: str
    axial_shape: Sequence[int] | None
    axial_dims: Sequence[int] | None
    causal: bool
    dropout: float
    epsilon: float
    reversible: bool
    reference_compatible: bool
    length_multiple: int | None
    longer_than: int
    dtype: str | None

    def __post_init__(self):
        for name in ("hidden_dim", "num_heads", "max_length", "chunk_length"):
            value = as_integer(name, getattr(self, name))
            object.__setattr__(self, name, value)
        for name in ("num_layers", "key_dim", "length_multiple"):
            if getattr(self, name) is not None:
                value = as_integer(name, getattr(self, name))
                object.__setattr__(self, name, value)
        check(
            self.key_dim is not None or self.hidden_dim % self.num_heads == 0,
            "`hidden_dim` must be divisible by `num_heads` if `key_dim` is "
            "not given.",
            hidden_dim=self.hidden_dim,
            num_heads=self.num_heads,
        )
        check(
            len(self.attention) > 0 and set(self.attention) <= set(ATTENTION),
            f"`attention` must be of {ATTENTION}, one or more.",
            attention=self.attention,
        )
        check(
            0 <= self.dropout < 1,
            "`dropout` must lie in [0, 1).",
            dropout=self.dropout,
        )
        check(
            self.positions in POSITIONS,
            f"`positions` must be one of {POSITIONS}.",
            positions=self.positions,
        )
        for name in ("lsh", "chunked"):
            given = getattr(self, name) or {}
            check(
                not set(given) & _OWN_ARGUMENTS,
                f"`{name}` must not have what the builder's own arguments say.",
                **{name: dict(given)},
            )
        given = self.axial_shape is not None or self.axial_dims is not None
        check(
            not given or self.positions == "axial",
            "`axial_shape` and `axial_dims` must be None unless `positions` "
            "are axial.",
            axial_shape=self.axial_shape,
            axial_dims=self.axial_dims,
            positions=self.positions,
        )
        check(
            self.axial_shape is None
            or math.prod(self.axial_shape) >= self.max_length,
            "`axial_shape` must have at least `max_length` places.",
            axial_shape=self.axial_shape,
            max_length=self.max_length,
        )
        dims, shape = self._axial_dims, self._axial_shape
        check(
            len(dims) == len(shape) and sum(dims) == self.hidden_dim,
            "`axial_dims` must be a width for each axis of `axial_shape`, and "
            "add up to `hidden_dim`.",
            axial_dims=dims,
            axial_shape=shape,
            hidden_dim=self.hidden_dim,
        )

    def layers(self, seeds: Seeds) -> dict[str, keras.layers.Layer]:
        """Makes the layers, by name and in the order they are applied."""
        embedding = TokenEmbedding(
            self.vocabulary_size,
            self.hidden_dim,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=self.hidden_dim**-0.5, seed=seeds.next()
            ),
            dtype=self.dtype,
            name="embedding",
        )
        dropout = Dropout(
            self.dropout,
            seed=seeds.next(),
            dtype=self.dtype,
            name="embedding_dropout",
        )
        positions = self._positions(seeds)
        pattern = self.attention
        num_layers = self.num_layers or len(pattern)
        stack = ReversibleSequence(
            [
                (
                    self._sublayer(
                        self._attention(pattern[index % len(pattern)], seeds),
                        f"attention_{index}",
                        seeds,
                    ),
                    self._sublayer(
                        self._feed_forward(seeds),
                        f"feed_forward_{index}",
                        seeds,
                    ),
                )
                for index in range(num_layers)
            ],
            reversible=self.reversible,
            dtype=self.dtype,
            name="reversible_sequence" if self.length_multiple else "stack",
        )
        if self.length_multiple:
            stack = PaddedLength(
                stack,
                multiple=self.length_multiple,
                longer_than=self.longer_than,
                dtype=self.dtype,
                name="stack",
            )
        return {
            "embedding": embedding,
            "embedding_dropout": dropout,
            "positions": positions,
            "stack": stack,
            "streams": keras.layers.Concatenate(
                dtype=self.wide_dtype, name="streams"
            ),
            "norm": keras.layers.LayerNormalization(
                epsilon=self.epsilon, dtype=self.wide_dtype, name="norm"
            ),
            "dropout": Dropout(
                self.dropout,
                seed=seeds.next(),
                dtype=self.wide_dtype,
                name="dropout",
            ),
        }

    @property
    def wide_dtype(self) -> str:
        """Dtype of the streams and of what is made of them."""
        policy = keras.dtype_policies.get(self.dtype)
        is_wide = policy.variable_dtype == "float64"
        return "float64" if is_wide else "float32"

    @property
    def _axial_shape(self):
        return self.axial_shape or axial_shape(self.max_length)

    @property
    def _axial_dims(self):
        return self.axial_dims or axial_dims(self.hidden_dim)

    def _positions(self, seeds):
        seed = seeds.next()
        if self.positions == "learned":
            return LearnedPositions(
                self.max_length,
                embeddings_initializer=keras.initializers.RandomNormal(
                    stddev=0.02, seed=seed
                ),
                dtype=self.dtype,
                name="positions",
            )
        return AxialPositionEmbedding(
            self._axial_shape,
            self._axial_dims,
            dropout=self.dropout,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=1.0, seed=seed
            ),
            seed=seeds.next(),
            dtype=self.dtype,
            name="positions",
        )

    def _attention(self, kind, seeds):
        arguments = {
            "num_heads": self.num_heads,
            "key_dim": self.hidden_dim // self.num_heads
            if self.key_dim is None
            else self.key_dim,
            "causal": self.causal,
            "kernel_initializer": self._kernel(seeds),
            "seed": seeds.next(),
            "dtype": self.dtype,
            "name": "self_attention",
        }
        if kind == "dense":
            return SelfAttention(use_bias=False, **arguments)
        arguments |= {
            "chunk_length": self.chunk_length,
            "reference_compatible": self.reference_compatible,
        }
        if kind == "chunked":
            return ChunkedSelfAttention(**arguments | dict(self.chunked or {}))
        arguments |= {"num_hashes": self.num_hashes, **(self.lsh or {})}
        chunk_length = as_integer("chunk_length", arguments["chunk_length"])
        if arguments.get("num_buckets") is None:
            # One number for all lengths: what a sequence gets must not depend
            # on how long the others in its batch are.
            arguments["num_buckets"] = lsh_hashing.bucket_factors(
                self.max_length, chunk_length
            )
        return LSHSelfAttention(**arguments)

    def _feed_forward(self, seeds):
        arguments = {
            "intermediate_dim": self.intermediate_dim,
            "activation": self.activation,
            "dropout": self.dropout,
            "kernel_initializer": self._kernel(seeds),
            "seed": seeds.next(),
            "dtype": self.dtype,
            "name": "feed_forward",
        }
        if self.feed_forward_chunk_length is None:
            return FeedForward(**arguments)
        return ChunkedFeedForward(
            chunk_length=self.feed_forward_chunk_length, **arguments
        )

    def _sublayer(self, layer, name, seeds):
        return Sublayer(
            layer,
            dropout=self.dropout,
            epsilon=self.epsilon,
            seed=seeds.next(),
            dtype=self.dtype,
            name=name,
        )

    def _kernel(self, seeds):
        return keras.initializers.GlorotUniform(seed=seeds.next())


def axial_shape(max_length: int) -> tuple[int, int]:
    """The squarest grid, of a power of two of rows, with so many places."""
    num_rows = 2 ** math.ceil(math.log2(max_length) / 2)
    return num_rows, -(-max_length // num_rows)


def axial_dims(hidden_dim: int) -> tuple[int, int]:
    """A quarter of the width for rows, as published models have, and the rest.

    The split of google/reformer-crime-and-punishment, and of
    google/reformer-enwik8, is 1 to 3.
    """
    num_first = max(1, hidden_dim // 4)
    return num_first, hidden_dim - num_first


def blocks_of(
    stack: keras.layers.Layer,
) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """The blocks of a stack, padded around or not."""
    return getattr(stack, "layer", stack).blocks

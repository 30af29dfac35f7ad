"""Axial position embedding (Kitaev et al., 2020)."""

import math
from collections.abc import Sequence
from numbers import Integral

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers.places import find_places
from keras_xf.ops import embedding
from keras_xf.ops.dropout import drop


@keras.saving.register_keras_serializable(package="keras_xf")
class AxialPositionEmbedding(keras.layers.Layer):
    """Adds a vector made of few learned ones to each vector of a sequence.

    The positions are laid out, row by row, in a grid of the given `shape`. A
    position's vector is joined from one vector for each of its coordinates:
    with shape `(64, 64)` position 130 has the coordinates 2 and 2, and 128
    learned vectors serve 4096 positions. A sequence may be of any length up to
    the product of `shape`, in training too.

    Masks do not matter to it.

    Args:
        shape: Sizes of the grid's axes. The last one moves the fastest.
        dims: Widths of the axes' vectors. They add up to the width of the
            inputs.
        dropout: Fraction dropped, in training, of what is added: of each
            sequence a set of features, the same at all positions, which is
            how the authors' code does it.
        embeddings_initializer: Initializer of the vectors; the default
            standard deviation of one is the authors'.
        seed: Seed of the dropout.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, sum(dims))`.
        start: Integer `(batch,)`, the position of each row's first vector; 0
            by default. A sequence longer than the grid is an error; what a
            start moves past its end takes the last vector.
        training: Whether to drop.

    Output shape:
        That of the inputs. The weights, `embeddings_0` and so on, are of
        shape `(shape[axis], dims[axis])`.

    Example:

    >>> layer = keras_xf.layers.AxialPositionEmbedding((64, 64), (2, 6))
    >>> layer(np.zeros((2, 4096, 8))).shape
    TensorShape([2, 4096, 8])

    Reference:
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451); the grid is
        described in the code that they published with Trax.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dims: Sequence[int],
        dropout: float = 0.0,
        embeddings_initializer=None,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            _are_sizes(shape),
            "`shape` must be positive sizes, one or more.",
            shape=shape,
        )
        check(
            _are_sizes(dims) and len(dims) == len(shape),
            "`dims` must be positive widths, one for each axis of `shape`.",
            dims=dims,
            shape=shape,
        )
        check(
            0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout
        )
        self.shape = tuple(map(int, shape))
        self.dims = tuple(map(int, dims))
        self.dropout = dropout
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
            or keras.initializers.RandomNormal(stddev=1.0)
        )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, length, dim)", dim=None)
        check(
            sum(self.dims) == input_shape[-1],
            "`dims` must add up to the width of `inputs`.",
            dims=self.dims,
            width=input_shape[-1],
        )
        self._check_length(input_shape[1])
        self.embeddings = [
            self.add_weight(
                shape=(size, dim),
                initializer=own_draws(self.embeddings_initializer, axis),
                name=f"embeddings_{axis}",
                autocast=False,
            )
            for axis, (size, dim) in enumerate(
                zip(self.shape, self.dims, strict=True)
            )
        ]

    def call(self, inputs, start=None, training=False):
        check_shape(
            "inputs", inputs.shape, "(batch, length, dim)", dim=sum(self.dims)
        )
        self._check_length(inputs.shape[1])
        place = find_places(inputs, start, max_length=math.prod(self.shape))
        vectors = ops.cast(self._look_up(place), inputs.dtype)
        if training and self.dropout:
            kept = drop(
                ops.ones((ops.shape(inputs)[0], 1, sum(self.dims)), "float32"),
                self.dropout,
                self.seed_generator,
            )
            vectors = vectors * ops.cast(kept, inputs.dtype)
        return inputs + vectors

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "dims": list(self.dims),
            "dropout": self.dropout,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
            "seed": self.seed,
        }

    def _check_length(self, length):
        check(
            length is None or length <= math.prod(self.shape),
            "`inputs` must not be longer than the product of `shape`.",
            length=length,
            shape=self.shape,
        )

    def _look_up(self, place):
        vectors = []
        for axis, table in enumerate(self.embeddings):
            num_inner = math.prod(self.shape[axis + 1 :])
            coordinate = place // num_inner % self.shape[axis]
            vectors.append(embedding.look_up(table, coordinate))
        return ops.concatenate(vectors, axis=-1)


def _are_sizes(values):
    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(x, Integral) and x > 0 for x in values)
    )

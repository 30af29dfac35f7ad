"""Learned position embedding (Gehring et al., 2017)."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.places import find_places
from keras_xf.ops import embedding


@keras.saving.register_keras_serializable(package="keras_xf")
class LearnedPositions(keras.layers.Layer):
    """Adds a learned vector of its position to each vector of a sequence.

    Masks do not matter to it.

    Args:
        max_length: Number of positions that have a vector.
        embeddings_initializer: Initializer of the vectors; the default
            standard deviation is that of GPT-2 and BERT.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`.
        start: Integer `(batch,)`, the position of each row's first vector; 0
            by default. A position past `max_length` is an error where the
            length is known, and at run time takes the last vector.

    Output shape:
        `(batch, length, dim)`.

    Example:

    >>> layer = keras_xf.layers.LearnedPositions(max_length=16)
    >>> layer(np.zeros((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [Gehring et al., 2017](https://arxiv.org/abs/1705.03122), section 3.1
    """

    def __init__(
        self,
        max_length: int,
        embeddings_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            max_length > 0,
            "`max_length` must be positive.",
            max_length=max_length,
        )
        self.max_length = max_length
        self.supports_masking = True
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
            or keras.initializers.RandomNormal(stddev=0.02)
        )

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, length, dim)", dim=None)
        self._dim = input_shape[-1]
        self.embeddings = self.add_weight(
            shape=(self.max_length, self._dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
            autocast=False,
        )

    def call(self, inputs, start=None):
        check_shape(
            "inputs", inputs.shape, "(batch, length, dim)", dim=self._dim
        )
        check(
            inputs.shape[1] is None or inputs.shape[1] <= self.max_length,
            "`inputs` must not be longer than `max_length`.",
            length=inputs.shape[1],
            max_length=self.max_length,
        )
        place = find_places(inputs, start, max_length=self.max_length)
        vectors = embedding.look_up(self.embeddings, place)
        return inputs + ops.cast(vectors, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }

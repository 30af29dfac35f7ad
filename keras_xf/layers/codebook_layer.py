"""What layers that look the nearest code up have in common."""

import math

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.layers.code_layer import CodeLayer
from keras_xf.layers.flat_vectors import hide
from keras_xf.ops import discrete
from keras_xf.ops import quantization
from keras_xf.ops import stateless_random
from keras_xf.ops.nearest import nearest_codes
from keras_xf.ops.replicas import sum_over_replicas


class CodebookLayer(CodeLayer):
    """The search of a codebook, and its losses.

    A layer made of it says how the codebook learns: `_loss` and `_learn`.

    Args:
        num_codes: Number of codes of a part.
        commitment: Weight of the commitment loss.
        **kwargs: Arguments of `CodeLayer`.
    """

    def __init__(self, num_codes, *, commitment, **kwargs):
        super().__init__(num_codes, **kwargs)
        check(
            commitment >= 0 and math.isfinite(commitment),
            "`commitment` must not be negative.",
            commitment=commitment,
        )
        self.commitment = commitment

    def build(self, input_shape):
        dim = input_shape[-1]
        check(
            dim is None or dim % self._parts == 0,
            "`inputs` must have a last axis that is a multiple of the number "
            "of parts.",
            shape=tuple(input_shape),
            parts=self._parts,
        )
        # Uniform, as wide as Sonnet's.
        limit = math.sqrt(3 * self._parts / (dim or 1))
        initializer = keras.initializers.RandomUniform(-limit, limit)
        self._build_codes(input_shape, initializer)
        self._build_rest()

    def call(self, inputs, training=None, mask=None):
        vectors, weights = self._vectors(inputs, mask)
        parts = self._to_parts(vectors)
        codes = ops.convert_to_tensor(self.codes)
        if self.freeze:
            codes = ops.stop_gradient(codes)
        indices = nearest_codes(parts, codes)
        is_learning = self._is_learning(training)
        chosen = indices[None]
        if is_learning and self._samples:
            chosen = self._drawn(parts, codes)
        rows = quantization.look_up_mean(codes, chosen)
        self.add_loss(self._loss(parts, rows, weights))
        outputs = self._outputs(vectors, parts, rows)
        outputs = ops.reshape(outputs, ops.shape(inputs))
        outputs = hide(ops.cast(outputs, self.compute_dtype), mask)
        if is_learning:
            # The codes of before this step are what was looked up.
            self._learn(ops.stop_gradient(parts), chosen, weights)
        if not self.return_indices:
            return outputs
        return outputs, self._shaped_indices(indices, inputs, mask)

    def encode(self, inputs, mask=None):
        """Finds the nearest codes; nothing is drawn or changed.

        Args:
            inputs: Float tensor `(..., dim)`.
            mask: Boolean `(...)`, True where a vector is real.

        Returns:
            int32 indices `(...)`, with an axis for the parts behind if the
            codebook has any; -1 for what is masked.

        Raises:
            ValueError: If the shape is wrong, or, in eager execution, if a
                vector is not finite.
        """
        inputs = ops.cast(inputs, self.compute_dtype)
        if not self.built:
            self.build(inputs.shape)
        vectors, _ = self._vectors(inputs, mask)
        indices = nearest_codes(self._to_parts(vectors), self.codes)
        return self._shaped_indices(indices, inputs, mask)

    def adapt(self, inputs, mask=None, iterations: int = 10) -> None:
        """Puts the codes at means of vectors, by Lloyd's algorithm.

        It begins from vectors drawn at random. The counts begin with the sizes
        of the clusters, so that the moving averages of a batch like this one
        go on from there. Under a strategy it is to be called outside of the
        replicas, with all vectors.

        Args:
            inputs: Float tensor `(..., dim)`.
            mask: Boolean `(...)`, True where a vector is real.
            iterations: Number of rounds. The default is that of
                vector-quantize-pytorch.

        Raises:
            ValueError: If the shape is wrong, or there is no vector.
        """
        as_integer("iterations", iterations)
        inputs = ops.cast(inputs, self.compute_dtype)
        if not self.built:
            self.build(inputs.shape)
        vectors, weights = self._vectors(inputs, mask)
        parts = self._to_parts(vectors)
        seed = stateless_random.draw(self.seed_generator)
        start, found = quantization.draw_candidates(
            parts, weights, seed, self.num_codes
        )
        check(
            bool(found), "`inputs` must hold a vector.", shape=inputs.shape[:-1]
        )
        codes, counts = quantization.k_means(parts, start, iterations, weights)
        # A code with no count, and so no sum, would fall to the origin.
        self._begin(codes, ops.maximum(counts, 1.0))

    def get_config(self):
        return {**super().get_config(), "commitment": self.commitment}

    # What a layer made of this one says.

    # How many codes are drawn for a vector in training, if any.
    _samples = 0

    def _drawn(self, parts, codes):
        """Codes that are drawn, `(samples, parts, number)`."""
        raise NotImplementedError

    def _build_rest(self):
        """Makes the weights beside the codes and their counts."""
        raise NotImplementedError

    def _loss(self, parts, rows, weights):
        """The layer's loss of vectors and the codes that they hit."""
        raise NotImplementedError

    def _learn(self, parts, chosen, weights):
        """Changes the state, by codes `(samples, parts, number)`."""
        raise NotImplementedError

    def _to_parts(self, vectors):
        """What is searched, `(parts, number, part_dim)`."""
        raise NotImplementedError

    def _outputs(self, vectors, parts, rows):
        """The outputs `(number, dim)`, with their gradient."""
        raise NotImplementedError

    # What it does for them.

    def _commitment_loss(self, parts, rows, weights):
        return self.commitment * quantization.mean_square(
            parts, ops.stop_gradient(rows), weights
        )

    def _straight_through(self, parts, rows):
        rows = ops.cast(rows, parts.dtype)
        return quantization.join(discrete.straight_through(rows, parts))

    def _count(self, parts, chosen, weights):
        """Hits and sums of all replicas; the metric counts this one's."""
        counts, sums = quantization.mean_statistics(
            parts, chosen, self.num_codes, weights
        )
        self.code_usage.update_state(counts)
        return sum_over_replicas((counts, sums))

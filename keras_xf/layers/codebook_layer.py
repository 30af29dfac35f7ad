"""What layers that write vectors as indices of a codebook have in common."""

import math

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.code_indices import as_code_indices
from keras_xf.layers.flat_vectors import flat_vectors
from keras_xf.layers.flat_vectors import hide
from keras_xf.layers.replica_losses import ReplicaLosses
from keras_xf.metrics.code_usage import CodeUsage
from keras_xf.ops import discrete
from keras_xf.ops import quantization
from keras_xf.ops import stateless_random
from keras_xf.ops.nearest import nearest_codes
from keras_xf.ops.replicas import sum_over_replicas


class CodebookLayer(keras.layers.Layer):
    """A codebook, in parts, its search, and what counts its use.

    A layer made of it says how the codebook learns: `_loss` and `_learn`.

    Args:
        num_codes: Number of codes of a part.
        parts: Number of parts; each has `dim / parts` entries of a vector.
        commitment: Weight of the commitment loss.
        codebook_initializer: Initializer of the codes; None for a uniform one
            in `+-sqrt(3 / dim)` of a part's width.
        return_indices: Whether a call returns the indices too.
        freeze: Whether the codebook stays as it is in training.
        seed: Seed of all that is drawn.
        **kwargs: `keras.layers.Layer` arguments.
    """

    def __init__(
        self,
        num_codes,
        *,
        parts=1,
        commitment,
        codebook_initializer,
        return_indices,
        freeze,
        seed,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_codes = as_integer("num_codes", num_codes)
        self._parts = parts
        check(
            commitment >= 0 and math.isfinite(commitment),
            "`commitment` must not be negative.",
            commitment=commitment,
        )
        self.commitment = commitment
        self.codebook_initializer = keras.initializers.get(codebook_initializer)
        self.return_indices = return_indices
        self.freeze = freeze
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self._losses = ReplicaLosses()

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        self._dim = input_shape[-1]
        check(
            self._dim % self._parts == 0,
            "`inputs` must have a last axis that is a multiple of the number "
            "of parts.",
            shape=tuple(input_shape),
            parts=self._parts,
        )
        self._part_dim = self._dim // self._parts
        limit = math.sqrt(3 / self._part_dim)
        shape = (self._parts, self.num_codes, self._part_dim)
        self.codes = self._state(
            "codes",
            shape,
            self.codebook_initializer
            or keras.initializers.RandomUniform(-limit, limit),
            trainable=self._is_trained_by_gradient and not self.freeze,
        )
        self.counts = self._state("counts", shape[:2], self._first_counts)
        self._build_rest()
        self.code_usage = CodeUsage(
            self._parts,
            self.num_codes,
            prefix=f"{self.name}_",
            running=lambda: self._running_counts(),
            dtype="float32",
        )

    def call(self, inputs, training=None, mask=None):
        vectors, weights = self._vectors(inputs, mask)
        parts = self._to_parts(vectors)
        codes = ops.convert_to_tensor(self.codes)
        if self.freeze:
            codes = ops.stop_gradient(codes)
        indices = nearest_codes(parts, codes)
        rows = quantization.look_up(codes, indices)
        self.add_loss(self._loss(parts, rows, weights))
        outputs = self._outputs(vectors, parts, rows)
        outputs = ops.reshape(outputs, ops.shape(inputs))
        outputs = hide(ops.cast(outputs, self.compute_dtype), mask)
        if training and self.trainable and not self.freeze:
            # The codes of before this step are what was looked up.
            self._learn(ops.stop_gradient(parts), indices, weights)
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

    def decode_from_indices(self, indices):
        """Looks codes up.

        Args:
            indices: Integer tensor as `encode` returns it.

        Returns:
            Tensor `(..., dim)` of the compute dtype, exactly rows of the
            codebook as it is now; zeros for indices of -1.

        Raises:
            ValueError: If the layer has no codebook yet, if the dtype is none
                of integers, or, in eager execution, if an index is out of
                range. Elsewhere that is an error of TensorFlow's on a CPU, and
                compiled by XLA it is not noticed.
        """
        self._check_built()
        indices = as_code_indices(indices, self.num_codes)
        lead = ops.shape(indices)
        if self._has_parts:
            check_shape(
                "indices", indices.shape, "(..., parts)", parts=self._parts
            )
            lead = lead[:-1]
        flat = ops.transpose(ops.reshape(indices, (-1, self._parts)))
        rows = quantization.look_up(self.codes, flat)
        rows = ops.where(flat[..., None] >= 0, rows, 0.0)
        outputs = ops.reshape(quantization.join(rows), (*lead, self._dim))
        return ops.cast(outputs, self.compute_dtype)

    @property
    def codebook(self):
        """The codes, float32 `(num_codes, dim)`, with parts in front if any."""
        self._check_built()
        codes = ops.convert_to_tensor(self.codes)
        return codes if self._has_parts else codes[0]

    def set_codebook(self, codebook) -> None:
        """Puts other codes in, as if no step had been made with them.

        Args:
            codebook: Float tensor like `codebook`.

        Raises:
            ValueError: If the shape is not that of the codebook, or a value is
                not finite.
        """
        codebook = ops.cast(codebook, "float32")
        layout, known = "(num_codes, dim)", {"num_codes": self.num_codes}
        if self._has_parts:
            layout, known["parts"] = "(parts, num_codes, dim)", self._parts
        dim = self._part_dim if self.built else None
        check_shape("codebook", codebook.shape, layout, dim=dim, **known)
        is_finite = bool(ops.all(ops.isfinite(codebook)))
        check(is_finite, "`codebook` must be finite.", is_finite=is_finite)
        if not self.built:
            self.build((None, self._parts * codebook.shape[-1]))
        self._begin(codebook if self._has_parts else codebook[None])

    def usage(self):
        """Running counts of the codes' hits in a training step.

        Returns:
            Float32 tensor `(num_codes,)`, with parts in front if any.
        """
        self._check_built()
        counts = self._running_counts()
        return counts if self._has_parts else counts[0]

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

    def compute_mask(self, inputs, previous_mask=None):
        if not self.return_indices:
            return previous_mask
        return previous_mask, previous_mask

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        if not self.return_indices:
            return shape
        return shape, self._indices_shape(shape)

    def compute_output_spec(self, inputs, training=None, mask=None):
        outputs = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not self.return_indices:
            return outputs
        shape = self._indices_shape(tuple(inputs.shape))
        return outputs, keras.KerasTensor(shape, dtype="int32")

    def get_config(self):
        return {
            **super().get_config(),
            "num_codes": self.num_codes,
            "commitment": self.commitment,
            "codebook_initializer": keras.initializers.serialize(
                self.codebook_initializer
            ),
            "return_indices": self.return_indices,
            "freeze": self.freeze,
            "seed": self.seed,
        }

    # What a layer made of this one says.

    _is_trained_by_gradient = False
    _first_counts = "ones"
    _has_parts = False

    def _build_rest(self):
        """Makes the weights beside the codes and their counts."""
        raise NotImplementedError

    def _loss(self, parts, rows, weights):
        """The layer's loss of vectors and the codes that they hit."""
        raise NotImplementedError

    def _learn(self, parts, indices, weights):
        """Changes the state after a training step."""
        raise NotImplementedError

    def _begin(self, codes, counts=None):
        """Sets codes, and the state that belongs to them."""
        raise NotImplementedError

    def _running_counts(self):
        """Running counts `(parts, num_codes)`."""
        raise NotImplementedError

    def _to_parts(self, vectors):
        """What is searched, `(parts, number, part_dim)`."""
        raise NotImplementedError

    def _outputs(self, vectors, parts, rows):
        """The outputs `(number, dim)`, with their gradient."""
        raise NotImplementedError

    # What it does for them.

    def _state(self, name, shape, initializer, trainable=False, dtype=None):
        # Averages stop moving in half precision. All replicas compute the
        # same, so that one speaks for all.
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype=dtype or "float32",
            trainable=trainable,
            autocast=False,
            aggregation="mean" if trainable else "only_first_replica",
            name=name,
        )

    def _commitment_loss(self, parts, rows, weights):
        return self.commitment * quantization.mean_square(
            parts, ops.stop_gradient(rows), weights
        )

    def _straight_through(self, parts, rows):
        rows = ops.cast(rows, parts.dtype)
        return quantization.join(discrete.straight_through(rows, parts))

    def _count(self, parts, indices, weights):
        """Hits and sums of all replicas; the metric counts this one's."""
        counts, sums = quantization.statistics(
            parts, indices, self.num_codes, weights
        )
        self.code_usage.update_state(counts)
        return sum_over_replicas((counts, sums))

    def _vectors(self, inputs, mask):
        check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=self._dim)
        return flat_vectors(inputs, mask)

    def _indices_shape(self, shape):
        return (*shape[:-1], self._parts) if self._has_parts else shape[:-1]

    def _shaped_indices(self, indices, inputs, mask):
        shape = self._indices_shape(ops.shape(inputs))
        return hide(ops.reshape(ops.transpose(indices), shape), mask, -1)

    def _check_built(self):
        check(
            self.built,
            "A layer must be built before its codebook is used.",
            layer=self.name,
        )

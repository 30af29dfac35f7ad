"""What layers that look the nearest code up have in common."""

import math

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import as_number
from keras_xf.checks import check
from keras_xf.layers.code_layer import CodeLayer
from keras_xf.ops import discrete
from keras_xf.ops import quantization
from keras_xf.ops import stateless_random
from keras_xf.ops.k_means import k_means
from keras_xf.ops.k_means import spread_vectors
from keras_xf.ops.nearest import nearest_codes
from keras_xf.ops.replicas import gather_over_replicas
from keras_xf.ops.replicas import sum_over_replicas

REDUCTIONS = ("mean", "sum_over_dim")
FIRST_BATCHES = (None, "data", "k_means")
# Those of vector-quantize-pytorch.
K_MEANS_ROUNDS = 10
# What is drawn; a layer made of this one goes on counting.
FIRST_CODES = 3
ADAPTATION = 4


class CodebookLayer(CodeLayer):
    """The search of a codebook, and its losses.

    A layer made of it says how the codebook learns: `_learn` and `_put`.

    Args:
        num_codes: Number of codes of a part.
        commitment: Weight of the commitment loss.
        commitment_reduction: Over entries, "mean" or "sum_over_dim".
        first_batch: What the first training batch makes of the codes.
        **kwargs: Arguments of `CodeLayer`.
    """

    _loss_names = ("commitment",)

    def __init__(
        self,
        num_codes,
        *,
        commitment,
        commitment_reduction,
        first_batch,
        **kwargs,
    ):
        super().__init__(num_codes, **kwargs)
        self.commitment = as_number("commitment", commitment)
        check(
            commitment >= 0,
            "`commitment` must not be negative.",
            commitment=commitment,
        )
        check(
            commitment_reduction in REDUCTIONS,
            f"`commitment_reduction` must be one of {REDUCTIONS}.",
            commitment_reduction=commitment_reduction,
        )
        check(
            first_batch in FIRST_BATCHES,
            f"`first_batch` must be one of {FIRST_BATCHES}.",
            first_batch=first_batch,
        )
        self.commitment_reduction = commitment_reduction
        self.first_batch = first_batch
        # How often the codes were adapted.
        self._adaptations = 0

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
        if self.first_batch is not None:
            self.initialized = self._state(
                "initialized", (), "zeros", dtype="int32"
            )
            if not self._draws:
                self._build_draw_seed()

    def call(self, inputs, training=None, mask=None):
        vectors, weights = self._vectors(inputs, mask)
        parts = self._to_parts(vectors)
        constants = ops.stop_gradient(parts)
        is_learning = self._is_learning(training)
        if is_learning and self.first_batch is not None:
            self._begin_once(constants, weights)
        codes = ops.convert_to_tensor(self.codes)
        if self.freeze:
            codes = ops.stop_gradient(codes)
        indices = nearest_codes(parts, codes)
        chosen = indices[None]
        if is_learning and self._samples:
            chosen = self._drawn(parts, codes)
        rows = quantization.look_up_mean(codes, chosen)
        losses = self._losses_of(parts, rows, weights)
        self._add_losses(losses)
        outputs = self._outputs(vectors, parts, rows)
        outputs = self._masked(outputs, inputs, mask)
        if is_learning:
            counts, sums = quantization.mean_statistics(
                constants, chosen, self.num_codes, weights
            )
            self._measure(counts, chosen, losses, weights, sums)
            # The codes of before this step are what was looked up.
            self._learn(constants, weights, *sum_over_replicas((counts, sums)))
        elif self._is_counting(training):
            counts = quantization.hits(indices, self.num_codes, weights)
            self._measure(counts, chosen, losses, weights, constants)
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
        vectors, _ = self._vectors_to_build_for(inputs, mask)
        indices = nearest_codes(self._to_parts(vectors), self.codes)
        return self._shaped_indices(indices, inputs, mask)

    def adapt(
        self, inputs, mask=None, iterations: int = K_MEANS_ROUNDS
    ) -> None:
        """Puts the codes at means of vectors, by Lloyd's algorithm.

        It begins from vectors far from each other, as k-means++ does (Arthur
        and Vassilvitskii, 2007). That takes about as long as the rounds, for
        thousands of codes longer. The counts begin with the sizes of the
        clusters, so that the moving averages of a batch like this one go on
        from there; with `ema_init="zero_debias"` there are none. Under a
        strategy it is to be called outside of the replicas, with all vectors.

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
        vectors, weights = self._vectors_to_build_for(inputs, mask)
        parts = self._to_parts(vectors)
        start, found = spread_vectors(
            parts, weights, self._adaptation_seed(), self.num_codes
        )
        check(
            bool(found), "`inputs` must hold a vector.", shape=inputs.shape[:-1]
        )
        codes, counts = k_means(parts, start, iterations, weights)
        # A code with no count, and so no sum, would fall to the origin.
        self._begin(codes, ops.maximum(counts, 1.0))

    def get_config(self):
        return {
            **super().get_config(),
            "commitment": self.commitment,
            "commitment_reduction": self.commitment_reduction,
            "first_batch": self.first_batch,
        }

    # What a layer made of this one says.

    # How many codes are drawn for a vector in training, if any.
    _samples = 0
    # How many training calls make a step.
    _calls_per_step = 1
    # Whether training draws anything, once it has begun.
    _draws = False

    def _drawn(self, parts, codes):
        """Codes that are drawn, `(samples, parts, number)`."""
        raise NotImplementedError

    def _build_rest(self):
        """Makes the weights beside the codes and their counts."""
        raise NotImplementedError

    def _learn(self, parts, weights, counts, sums):
        """Changes the state, by the hits and sums of all replicas."""
        raise NotImplementedError

    def _put(self, codes, counts, is_due):
        """Sets codes, and the state that belongs to them.

        Args:
            codes: `(parts, num_codes, part_dim)`.
            counts: `(parts, num_codes)`, or None for those of a new layer.
            is_due: Boolean scalar, False where all shall stay.
        """
        raise NotImplementedError

    def _losses_of(self, parts, rows, weights):
        """Losses by name, of vectors and the codes that they hit."""
        return {"commitment": self._commitment_loss(parts, rows, weights)}

    def _to_parts(self, vectors):
        """What is searched, `(parts, number, part_dim)`."""
        return quantization.split(vectors, self._parts)

    def _outputs(self, vectors, parts, rows):
        """The outputs `(number, dim)`, with their gradient."""
        rows = ops.cast(rows, parts.dtype)
        return quantization.join(discrete.straight_through(rows, parts))

    # What it does for them.

    def _commitment_loss(self, parts, rows, weights):
        return self.commitment * quantization.mean_square(
            parts, ops.stop_gradient(rows), weights, self.commitment_reduction
        )

    def _begin(self, codes, counts=None):
        self._put(codes, counts, True)
        if self.first_batch is not None:
            self.initialized.assign(1)

    def _adaptation_seed(self):
        # Beside the generator's own draws, so that neither shifts the other.
        self._adaptations += 1
        seed = ops.cast(
            ops.convert_to_tensor(self.seed_generator.state), "int32"
        )
        seed = ops.stack([seed[0], 0])
        return stateless_random.fold_in(
            stateless_random.fold_in(seed, ADAPTATION), self._adaptations
        )

    def _begin_once(self, parts, weights):
        """Takes the codes from a batch, if none has given them yet."""
        if weights is None:
            weights = ops.ones_like(parts[0, :, 0], dtype="float32")
        # Nothing can be asked of other replicas under a condition.
        parts = gather_over_replicas(ops.cast(parts, "float32"), axis=1)
        weights = gather_over_replicas(weights, axis=0)
        is_usable = ops.logical_and(
            ops.sum(weights) > 0, ops.isfinite(ops.sum(parts))
        )
        is_due = ops.logical_and(
            ops.equal(ops.convert_to_tensor(self.initialized), 0), is_usable
        )
        seed = self._seed_of(FIRST_CODES, 0)
        before = tuple(map(ops.convert_to_tensor, (self.codes, self.counts)))

        def begin():
            draw, rounds = quantization.draw_candidates, 0
            if self.first_batch == "k_means":
                draw, rounds = spread_vectors, K_MEANS_ROUNDS
            codes, _ = draw(parts, weights, seed, self.num_codes)
            codes, _ = k_means(parts, codes, rounds, weights)
            counts = quantization.hits(
                nearest_codes(parts, codes), self.num_codes, weights
            )
            # Counts are those of a step, which may be several such batches.
            counts = counts * self._calls_per_step
            return codes, ops.maximum(counts, 1.0)

        codes, counts = ops.cond(is_due, begin, lambda: before)
        self._put(codes, counts, is_due)
        self.initialized.assign(ops.where(is_due, 1, self.initialized))

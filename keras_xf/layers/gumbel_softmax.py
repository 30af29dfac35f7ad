"""Codes drawn by Gumbel-softmax (Jang et al., 2017)."""

import math

import keras
from keras import ops

from keras_xf.checks import as_number
from keras_xf.checks import check
from keras_xf.layers import scheduled
from keras_xf.layers.bottleneck_layer import USAGE_DECAY
from keras_xf.layers.code_layer import CodeLayer
from keras_xf.ops import discrete
from keras_xf.ops import quantization
from keras_xf.ops import stateless_random
from keras_xf.ops.logits import wide_dtype
from keras_xf.ops.replicas import sum_over_replicas

LOGITS = ("projection", "distance")
# What is drawn.
NOISE = 1


@keras.saving.register_keras_serializable(package="keras_xf")
class GumbelSoftmax(CodeLayer):
    """Writes each vector as a code that is drawn from a softmax.

    A projection makes logits `l = x W + b`, one for each code; or they are
    `l = -|x - E|^2`, so that a code is the likelier, the nearer it is. In
    training Gumbel noise `g` is added, which makes the largest a draw of their
    softmax, and the outputs are `softmax((l + g) / temperature) E`, which has
    gradients for all: a mixture of codes that comes the closer to one of them,
    the lower the temperature; or with `hard` that one, with the mixture's
    gradient. In inference the outputs are the code with the largest logit,
    exactly. Of a vector that is not finite they are NaN, which in eager
    execution is an error.

    With a `divergence` it adds a loss of that weight times the mean divergence
    of the softmax from the uniform one, which keeps codes in use.

    Nothing is drawn, and hard codes come out, without `training=True`, and
    where `trainable` is false or `freeze` is true; in training with the
    gradient of the mixture without noise. Under a strategy replicas
    draw noise of their own. Each training call is a step: rematerialized, as
    by `keras.remat` or `tf.recompute_grad`, it would be two, with noise of its
    own each. `keras.RematScope` leaves the layer itself out, but no model
    that is made in the scope.

    What is masked is in no statistic and no loss; its outputs are zeros, or as
    `masked_outputs` says, its indices -1. The mask passes on. Logits, noise and
    softmax are computed in float32 or wider under every policy.

    Args:
        num_codes: Number of codes.
        temperature: Of the softmax in training: a number, or a schedule of the
            training steps. 0.5 to 1 does for ten codes. fairseq's is
            `ExponentialDecay(2.0, 1, 0.999995)` with a least one of 0.5.
        min_temperature: What it never falls below.
        logits: Whether logits are those of a "projection", or of the "distance"
            to each code, which has no weights of its own.
        hard: Whether one code comes out in training, too.
        divergence: Weight of the divergence from the uniform distribution.
        kernel_initializer: Initializer of the projection, if any; the default
            is Keras's.
        codebook_initializer: Initializer of the codes; by default uniform in
            `[0, 1)`, as in fairseq.
        masked_outputs: Whether outputs of what is masked are "zeros" or the
            "inputs", as they are.
        return_indices: Whether a call returns the indices too: in training
            those that were drawn.
        freeze: Whether the layer stays as it is, and draws nothing, in
            training, too. Once built, a layer that is not frozen has
            `trainable` for that.
        seed: Seed of the noise.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        training: Whether codes are drawn.
        mask: Boolean `(batch, ...)`, True where a vector is real.

    Output shape:
        That of the inputs; with `return_indices` a pair of it and int32
        indices `(batch, ...)`.

    Example:

    >>> layer = keras_xf.layers.GumbelSoftmax(num_codes=16, temperature=0.9)
    >>> layer(np.ones((2, 5, 8)), training=True).shape
    TensorShape([2, 5, 8])
    >>> layer.encode(np.ones((2, 5, 8))).shape
    TensorShape([2, 5])

    Reference:
        [Jang et al., 2017](https://arxiv.org/abs/1611.01144)
        [Maddison et al., 2017](https://arxiv.org/abs/1611.00712)
        [Kaiser et al., 2018](https://arxiv.org/abs/1803.03382)
    """

    _is_trained_by_gradient = True

    def __init__(
        self,
        num_codes: int,
        temperature=1.0,
        min_temperature: float = discrete.MIN_TEMPERATURE,
        logits: str = "projection",
        hard: bool = False,
        divergence: float = 0.0,
        kernel_initializer="glorot_uniform",
        codebook_initializer=None,
        masked_outputs: str = "zeros",
        return_indices: bool = False,
        freeze: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            num_codes,
            codebook_initializer=codebook_initializer,
            masked_outputs=masked_outputs,
            return_indices=return_indices,
            freeze=freeze,
            seed=seed,
            **kwargs,
        )
        self.temperature = scheduled.as_number_or_schedule(
            "temperature", temperature, lambda x: x > 0, "be positive"
        )
        self.min_temperature = as_number("min_temperature", min_temperature)
        check(
            min_temperature >= discrete.MIN_TEMPERATURE,
            f"`min_temperature` must be {discrete.MIN_TEMPERATURE} at least.",
            min_temperature=min_temperature,
        )
        check(
            logits in LOGITS,
            f"`logits` must be one of {LOGITS}.",
            logits=logits,
        )
        self.divergence = as_number("divergence", divergence)
        check(
            divergence >= 0,
            "`divergence` must not be negative.",
            divergence=divergence,
        )
        self.logits = logits
        self.hard = hard
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        self._build_codes(input_shape, keras.initializers.RandomUniform(0, 1))
        if self.logits == "projection":
            self.kernel = self._state(
                "kernel",
                (self._dim, self.num_codes),
                self.kernel_initializer,
                trainable=not self.freeze,
            )
            self.bias = self._state(
                "bias", (self.num_codes,), "zeros", trainable=not self.freeze
            )
        self.steps = self._state("steps", (), "zeros", dtype="int32")
        self._build_draw_seed()

    def call(self, inputs, training=None, mask=None):
        vectors, weights = self._vectors(inputs, mask)
        logits = self._logits(vectors)
        losses = {}
        if self.divergence:
            divergence = discrete.divergence_from_uniform(logits, weights)
            divergence = self.divergence * ops.cast(divergence, "float32")
            losses["divergence"] = divergence
        self._add_losses(losses)
        is_learning = self._is_learning(training)
        if is_learning:
            seed = self._seed_for_replica(NOISE, self.steps)
            uniform = stateless_random.uniform(seed, ops.shape(logits))
            logits += ops.cast(discrete.gumbel_noise(uniform), logits.dtype)
            indices = self._argmax(logits)
            outputs = self._mixture(logits, self.hard)
        else:
            indices = self._argmax(logits)
            outputs = quantization.look_up(self.codes, indices[None])[0]
            # No code may hide what is not finite.
            is_finite = ops.isfinite(ops.max(logits, axis=-1, keepdims=True))
            outputs = ops.where(is_finite, outputs, math.nan)
            if training:
                # What comes before a layer that is frozen learns all the same.
                mixture = self._mixture(logits)
                outputs = ops.cast(outputs, mixture.dtype)
                outputs = discrete.straight_through(outputs, mixture)
        if self._is_counting(training):
            counts = quantization.hits(indices[None], self.num_codes, weights)
            self._measure(counts, indices[None, None], losses, weights, logits)
            if is_learning:
                self._learn(counts, ops.isfinite(ops.sum(logits)))
        outputs = self._masked(outputs, inputs, mask)
        if not self.return_indices:
            return outputs
        return outputs, self._shaped_indices(indices[None], inputs, mask)

    def current_temperature(self):
        """The temperature of the next training step, a float32 scalar."""
        steps = self.steps if self.built else 0
        return ops.maximum(
            scheduled.value_at(self.temperature, steps), self.min_temperature
        )

    def encode(self, inputs, mask=None):
        """Finds the codes with the largest logits; nothing is drawn.

        Args:
            inputs: Float tensor `(..., dim)`.
            mask: Boolean `(...)`, True where a vector is real.

        Returns:
            int32 indices `(...)`; -1 for what is masked.

        Raises:
            ValueError: If the shape is wrong, or, in eager execution, if a
                vector is not finite.
        """
        inputs = ops.cast(inputs, self.compute_dtype)
        vectors, _ = self._vectors_to_build_for(inputs, mask)
        indices = self._argmax(self._logits(vectors))
        return self._shaped_indices(indices[None], inputs, mask)

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": scheduled.serialize(self.temperature),
            "min_temperature": self.min_temperature,
            "logits": self.logits,
            "hard": self.hard,
            "divergence": self.divergence,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }

    @property
    def _loss_names(self):
        return ("divergence",) if self.divergence else ()

    def _logits(self, vectors):
        dtype = wide_dtype(vectors.dtype)
        vectors = ops.cast(vectors, dtype)
        if self.logits == "distance":
            codes = ops.cast(self.codes[0], dtype)
            return discrete.distance_logits(vectors, codes)
        product = ops.matmul(vectors, ops.cast(self.kernel, dtype))
        return product + ops.cast(self.bias, dtype)

    def _mixture(self, logits, hard=False):
        shares = discrete.gumbel_softmax(
            logits, self.current_temperature(), hard
        )
        return ops.matmul(shares, ops.cast(self.codes[0], shares.dtype))

    def _argmax(self, logits):
        return ops.cast(ops.argmax(logits, axis=-1), "int32")

    def _learn(self, counts, is_finite):
        unusable = ops.cast(ops.logical_not(is_finite), "float32")
        counts, unusable = sum_over_replicas((counts, unusable))
        is_finite = ops.equal(unusable, 0)
        is_usable = ops.logical_and(is_finite, ops.sum(counts) > 0)
        change = (counts - self.counts) * (1 - USAGE_DECAY)
        self.counts.assign_add(ops.where(is_usable, change, 0.0))
        self.steps.assign_add(ops.cast(is_usable, "int32"))

    def _begin(self, codes, counts=None):
        self.codes.assign(codes)
        self.counts.assign(ops.ones_like(self.counts))
        self.steps.assign(0)

    def _running_counts(self):
        return ops.convert_to_tensor(self.counts)

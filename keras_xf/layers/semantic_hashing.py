"""Semantic hashing bottleneck (Kaiser & Bengio, 2018)."""

import warnings

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import as_number
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.own_draws import own_draws
from keras_xf.layers import scheduled
from keras_xf.layers.bottleneck_layer import USAGE_DECAY
from keras_xf.layers.bottleneck_layer import BottleneckLayer
from keras_xf.layers.code_indices import as_code_indices
from keras_xf.layers.flat_vectors import hide
from keras_xf.metrics.bit_usage import BitUsage
from keras_xf.ops import discrete
from keras_xf.ops import packing
from keras_xf.ops import quantization
from keras_xf.ops import stateless_random
from keras_xf.ops.logits import wide_dtype
from keras_xf.ops.replicas import sum_over_replicas

# An int32 holds as many.
MOST_BITS = 31
# What is drawn.
NOISE, CHOICE = 1, 2


@keras.saving.register_keras_serializable(package="keras_xf")
class SemanticHashing(BottleneckLayer):
    """Writes each vector as bits, and the bits as a vector again.

    A projection makes a logit for each bit, `x W + b`. In inference a bit is 1
    where its logit is positive. In training Gaussian noise is added to the
    logits, which teaches the encoder to keep them away from zero, and lets bits
    that have decided change their mind. Each example of the batch is then sent
    either as hard bits or as soft values in `[0, 1]`, by a saturating sigmoid:
    the hard ones teach the decoder to read bits, the soft ones keep a gradient
    to the encoder. The gradient is that of the soft ones in any case.

    Two tables have a row for each bit: the outputs are the sum of `ones[i]`
    for bits that are 1 and of `zeros[i]` for those that are 0, which is a
    `keras.layers.Dense` of the bits until something follows that is not linear.

    Nothing is drawn, and hard bits come out, without `training=True`, and where
    `trainable` is false or `freeze` is true. Under a strategy replicas draw
    noise of their own. It adds no loss. Each training call is a step:
    rematerialized, as by `keras.remat` or `tf.recompute_grad`, it would be two,
    with noise of its own each. `keras.RematScope` leaves the layer itself
    out, but no model that is made in the scope.

    What is masked has outputs of zeros, or as `masked_outputs` says, indices of
    -1, and is not counted. The mask passes on. Logits are computed in float32
    or wider under every policy.

    Args:
        num_bits: Bits per vector, 31 at most.
        noise_stddev: Standard deviation of the training noise. The default is
            the paper's. With 0 training warns: bits that have decided have no
            gradient of their own.
        hard_fraction: Probability, in training, that an example is sent as
            hard bits: a number, or a schedule of the training steps. The
            default is that of the authors' code.
        kernel_initializer: Initializer of the projection; the default is
            Keras's.
        codebook_initializer: Initializer of both tables, alike.
        masked_outputs: Whether outputs of what is masked are "zeros" or the
            "inputs", as they are.
        return_indices: Whether a call returns the bits, packed into an
            integer, too.
        freeze: Whether the layer stays as it is, and draws nothing, in
            training, too. Once built, a layer that is not frozen has
            `trainable` for that.
        seed: Seed of the noise and of the choice between hard and soft.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        training: Whether to add noise and send soft values.
        mask: Boolean `(batch, ...)`, True where a vector is real.

    Output shape:
        That of the inputs; with `return_indices` a pair of it and int32
        indices `(batch, ...)`.

    Example:

    >>> layer = keras_xf.layers.SemanticHashing(num_bits=16)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])
    >>> indices = layer.encode(np.ones((2, 5, 8)))
    >>> indices.shape, layer.unpack_indices(indices).shape
    (TensorShape([2, 5]), TensorShape([2, 5, 16]))

    Reference:
        [Kaiser & Bengio, 2018](https://arxiv.org/abs/1801.09797)
    """

    def __init__(
        self,
        num_bits: int,
        noise_stddev: float = 1.0,
        hard_fraction=0.5,
        kernel_initializer="glorot_uniform",
        codebook_initializer="glorot_uniform",
        masked_outputs: str = "zeros",
        return_indices: bool = False,
        freeze: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            masked_outputs=masked_outputs,
            return_indices=return_indices,
            freeze=freeze,
            seed=seed,
            **kwargs,
        )
        self.num_bits = as_integer("num_bits", num_bits)
        check(
            num_bits <= MOST_BITS,
            f"`num_bits` must be {MOST_BITS} at most.",
            num_bits=num_bits,
        )
        self.noise_stddev = as_number("noise_stddev", noise_stddev)
        check(
            noise_stddev >= 0,
            "`noise_stddev` must not be negative.",
            noise_stddev=noise_stddev,
        )
        self.hard_fraction = scheduled.as_number_or_schedule(
            "hard_fraction",
            hard_fraction,
            lambda x: 0 <= x <= 1,
            "lie in [0, 1]",
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.codebook_initializer = keras.initializers.get(codebook_initializer)

    def build(self, input_shape):
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        self._dim = input_shape[-1]
        self.kernel = self._weight(
            "kernel", (self._dim, self.num_bits), self.kernel_initializer
        )
        self.bias = self._weight("bias", (self.num_bits,), "zeros")
        shape = (self.num_bits, self._dim)
        self.ones = self._weight("ones", shape, self.codebook_initializer)
        self.zeros = self._weight(
            "zeros", shape, own_draws(self.codebook_initializer, 1)
        )
        half = keras.initializers.Constant(0.5)
        self.rates = self._state("rates", (self.num_bits,), half)
        self.steps = self._state("steps", (), "zeros", dtype="int32")
        self._build_draw_seed()
        self._build_joint_usage()
        self.bit_usage = BitUsage(
            self.num_bits,
            running=lambda: ops.convert_to_tensor(self.rates),
            name=f"{self.name}_bit_entropy",
            dtype="float32",
        )

    def call(self, inputs, training=None, mask=None):
        vectors, weights = self._vectors(inputs, mask)
        logits = self._logits(vectors)
        is_learning = self._is_learning(training)
        if is_learning:
            bits = self._drawn_bits(logits, inputs)
        else:
            bits = discrete.hash_bits(logits, use_hard=True)
        if self._is_counting(training):
            ones, total = _count(bits > 0.5, weights)
            is_finite = ops.isfinite(ops.sum(logits))
            share = ops.cast(is_finite, "float32")
            self.bit_usage.update_state(ones * share, total * share)
            if self.joint_usage is not None:
                packed = packing.pack(ops.cast(bits > 0.5, "int32"), 2)[None]
                hits = quantization.hits(packed, self.count_codes(), weights)[0]
                self.joint_usage.update_state(hits * share)
            if is_learning:
                self._learn(ones, total, is_finite)
        outputs = self._masked(self._read(bits), inputs, mask)
        if not self.return_indices:
            return outputs
        return outputs, self._packed(bits > 0.5, inputs, mask)

    def count_codes(self):
        return 2**self.num_bits

    def encode(self, inputs, mask=None):
        """Writes vectors as packed bits; nothing is drawn or changed.

        Args:
            inputs: Float tensor `(..., dim)`.
            mask: Boolean `(...)`, True where a vector is real.

        Returns:
            int32 indices `(...)`, `sum_i bits[i] 2**i`; -1 for what is masked.

        Raises:
            ValueError: If the shape is wrong, or, in eager execution, if a
                vector is not finite.
        """
        inputs = ops.cast(inputs, self.compute_dtype)
        vectors, _ = self._vectors_to_build_for(inputs, mask)
        return self._packed(self._logits(vectors) > 0, inputs, mask)

    def decode_from_indices(self, indices):
        """Reads packed bits.

        Args:
            indices: Integer tensor `(...)`, as `encode` returns it.

        Returns:
            Tensor `(..., dim)` of the compute dtype; zeros for indices of -1.

        Raises:
            ValueError: If the layer has no tables yet, if the dtype is none of
                integers, or, in eager execution, if an index is out of range.
                Elsewhere one that is too large is an error of TensorFlow's on
                a CPU, and compiled by XLA it is not noticed. With 31 bits it
                reads as one that is masked.
        """
        self._check_built()
        bits = self._unpacked(indices)
        lead = ops.shape(bits)[:-1]
        flat = ops.reshape(ops.maximum(bits, 0), (-1, self.num_bits))
        # Looked up and not cast, for a number that is too large has a bit that
        # is neither, and a gather fails on it.
        values = ops.convert_to_tensor([0, 1], wide_dtype(self.compute_dtype))
        flat = ops.take(values, flat)
        outputs = ops.reshape(self._read(flat), (*lead, self._dim))
        return hide(outputs, bits[..., 0] >= 0)

    def pack_indices(self, bits):
        """Writes bits as one number.

        Args:
            bits: Tensor `(..., num_bits)` of zeros and ones.

        Returns:
            int32 tensor `(...)`, the first bit counting the least; -1 where
            any bit is.

        Raises:
            ValueError: If the shape is another, or, in eager execution, if a
                bit is neither.
        """
        bits = ops.cast(bits, "int32")
        check_shape(
            "bits", bits.shape, "(..., num_bits)", num_bits=self.num_bits
        )
        return packing.pack(as_code_indices(bits, 2), 2)

    def unpack_indices(self, indices):
        """Reads the bits of numbers.

        Args:
            indices: Integer tensor `(...)`.

        Returns:
            int32 tensor `(..., num_bits)`; -1 where the number is negative.
            Where a number is too large its last bit is 1, which only eager
            execution notices.

        Raises:
            ValueError: If the dtype is none of integers, or, in eager
                execution, if a number is out of range.
        """
        return ops.minimum(self._unpacked(indices), 1)

    @property
    def codebook(self):
        """Both tables, `(2, num_bits, dim)`: rows of zeros, rows of ones."""
        self._check_built()
        return ops.stack([self.zeros, self.ones])

    def set_codebook(self, codebook) -> None:
        """Puts other tables in.

        Args:
            codebook: Float tensor like `codebook`.

        Raises:
            ValueError: If the shape is not that of the tables, or a value is
                not finite.
        """
        codebook = self._checked_codebook(
            codebook,
            self.variable_dtype,
            "(tables, num_bits, dim)",
            tables=2,
            num_bits=self.num_bits,
            dim=self._dim if self.built else None,
        )
        if not self.built:
            self.build((None, codebook.shape[-1]))
        self.zeros.assign(codebook[0])
        self.ones.assign(codebook[1])

    def usage(self):
        """Running share of ones of each bit, float32 `(num_bits,)`."""
        self._check_built()
        return ops.convert_to_tensor(self.rates)

    def get_config(self):
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "noise_stddev": self.noise_stddev,
            "hard_fraction": scheduled.serialize(self.hard_fraction),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "codebook_initializer": keras.initializers.serialize(
                self.codebook_initializer
            ),
        }

    def _weight(self, name, shape, initializer):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            trainable=not self.freeze,
            autocast=False,
            name=name,
        )

    @property
    def _usage_metric(self):
        return self.bit_usage

    def _logits(self, vectors):
        dtype = wide_dtype(vectors.dtype)
        kernel = ops.cast(self.kernel, dtype)
        product = ops.matmul(ops.cast(vectors, dtype), kernel)
        return product + ops.cast(self.bias, dtype)

    def _drawn_bits(self, logits, inputs):
        if not self.noise_stddev:
            warnings.warn(
                f"Layer {self.name} learns without noise (noise_stddev=0): "
                "bits that have decided have no gradient of their own.",
                stacklevel=2,
            )
        noise = stateless_random.normal(
            self._seed_for_replica(NOISE, self.steps), ops.shape(logits)
        )
        shape = ops.shape(inputs)
        chance = stateless_random.uniform(
            self._seed_for_replica(CHOICE, self.steps), (shape[0],)
        )
        fraction = scheduled.value_at(self.hard_fraction, self.steps)
        # One choice for all vectors of an example.
        chance = ops.reshape(chance, (-1, *[1] * (len(shape) - 1)))
        chance = ops.broadcast_to(chance, (*shape[:-1], 1))
        use_hard = ops.reshape(chance, (-1, 1)) < fraction
        noise = ops.cast(noise, logits.dtype)
        return discrete.hash_bits(logits + self.noise_stddev * noise, use_hard)

    def _read(self, bits):
        ones = ops.cast(self.ones, bits.dtype)
        zeros = ops.cast(self.zeros, bits.dtype)
        outputs = discrete.read_bits(bits, ones, zeros)
        return ops.cast(outputs, self.compute_dtype)

    def _unpacked(self, indices):
        """Bits, the last of which is 2 or more in what is too large."""
        indices = as_code_indices(indices, self.count_codes())
        return packing.unpack(indices, 2, self.num_bits)

    def _packed(self, bits, inputs, mask):
        packed = packing.pack(ops.cast(bits, "int32"), 2)
        return hide(ops.reshape(packed, ops.shape(inputs)[:-1]), mask, -1)

    def _learn(self, ones, total, is_finite):
        unusable = ops.cast(ops.logical_not(is_finite), "float32")
        ones, total, unusable = sum_over_replicas((ones, total, unusable))
        is_finite = ops.equal(unusable, 0)
        is_usable = ops.logical_and(is_finite, total > 0)
        change = ones / ops.maximum(total, 1.0) - self.rates
        change = ops.where(is_usable, change * (1 - USAGE_DECAY), 0.0)
        self.rates.assign_add(change)
        self.steps.assign_add(ops.cast(is_usable, "int32"))


def _count(bits, weights):
    """How often each bit is 1, and of how many vectors."""
    bits = ops.cast(bits, "float32")
    if weights is None:
        weights = ops.ones_like(bits[:, 0])
    return ops.sum(bits * weights[:, None], axis=0), ops.sum(weights)

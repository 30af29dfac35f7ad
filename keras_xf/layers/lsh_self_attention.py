"""LSH self-attention, the Reformer's (Kitaev et al., 2020)."""

from collections.abc import Sequence
from numbers import Integral

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.multi_head_layer import MultiHeadLayer
from keras_xf.ops import lsh
from keras_xf.ops import lsh_hashing
from keras_xf.ops import lsh_step
from keras_xf.ops import stateless_random
from keras_xf.ops.chunk_windows import ChunkWindows


@keras.saving.register_keras_serializable(package="keras_xf")
class LSHSelfAttention(MultiHeadLayer):
    """Lets each position of a long sequence attend to those most like it.

    One projection gives each position a vector per head that is its query
    and, scaled to unit length, its key. Random rotations hash the vectors to
    buckets; sorted by bucket, the sequence is cut into chunks, and each chunk
    attends to itself and to those around it. That is repeated with other
    rotations `num_hashes` times, and one softmax is over all that a query
    has seen. Time and memory are linear in the length. A position attends to
    itself only if it sees no other. A sequence no longer than a chunk gets
    dense attention.

    The rotations are drawn anew for each training step and are fixed
    otherwise: a layer with more hashes and the same weights keeps those it
    had, and adds others.

    Causal attention lets no later value in; yet which of the earlier
    positions a query sees depends on the later ones as well, since they take
    part in the sorting. With a state, a position is hashed among those before
    it alone: outputs are those that the last position of a whole sequence
    has.

    Hashing and what softmax does are computed in float32 whatever the policy.
    GPUs that multiply float32 as TF32 round before they hash; where a vector
    is to land in the very bucket that it has on other devices, say
    `tf.config.experimental.enable_tensor_float_32_execution(False)`.

    Positions where `padding_mask` is False are not attended to; their own
    outputs carry no meaning. They may stand anywhere.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and key, per head.
        value_dim: Width of a value per head; `key_dim` if None.
        chunk_length: Number of positions in a chunk. The default is that of
            the reference implementations.
        chunks_before: Number of chunks before its own that a chunk sees.
        chunks_after: Number of chunks after its own that a chunk sees; 0 if
            `causal`.
        num_hashes: Number of rounds of hashing. More come closer to dense
            attention, also with the weights of a layer trained with fewer.
        num_buckets: Number of buckets, even; or a tuple of even numbers whose
            product it is, which costs their sum alone. None for twice as
            many as there are chunks, as in the paper, in two factors if they
            are more than 128; with a state, of its whole room.
        causal: Whether a position attends only to those before.
        dropout: Fraction of the attention weights dropped in training.
        seed: Seed of the rotations and of the dropout. Layers of one seed
            hash alike: several in a model want one each, or None.
        reference_compatible: Whether to compute what the published
            checkpoints were trained with: a round's first chunk sees the
            last one of the round before, not of its own, and the rounds'
            weights are rounded as they were. Rounds are as long as the batch,
            so that outputs depend on how far a sequence is padded.
        injected_rotations: Whether the rotations are a weight, `rotations`
            `(num_heads, key_dim, num_hashes, sum of the factors / 2)`, to be
            assigned; `num_buckets` must then be given.
        kernel_initializer: Initializer of the projections, which have no
            biases. They are `query_key` `(dim, num_heads * key_dim)`, `value`
            `(dim, num_heads * value_dim)` and `output_projection` `(num_heads
            * value_dim, dim)`, where the heads come first.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, length, dim)`.
        padding_mask: Boolean `(batch, length)`, True where an input is real.
            With a state, the real inputs of a row must come first.
        state: None, or what `initial_state` or the last call returned. The
            layer must be causal. The first positions given to a new state
            are hashed together, as without a state, later ones one by one.
        record: None, or the record of another call, whose buckets are used
            instead of hashing.
        return_record: Whether to return the record too.
        mask: The mask that Keras passes on, such as that of an `Embedding`
            with `mask_zero=True`; joined with `padding_mask`.
        training: Whether to draw new rotations and to drop attention weights.

    Output shape:
        `(batch, length, dim)`; with a state a pair of this and the new state,
        with `return_record` a pair of this and the record, the buckets as
        int32 `(batch, num_heads, num_hashes, length)`.

    Example:

    >>> layer = keras_xf.layers.LSHSelfAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((2, 256, 8))).shape
    TensorShape([2, 256, 8])

    Reference:
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451), section 2
    """

    keeps_record = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        chunk_length: int = 64,
        chunks_before: int = 1,
        chunks_after: int = 0,
        num_hashes: int = 1,
        num_buckets: int | tuple | None = None,
        causal: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        reference_compatible: bool = False,
        injected_rotations: bool = False,
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
            wrap="rounds" if reference_compatible else "row",
        )
        check(
            not causal or chunks_after == 0,
            "`chunks_after` must be 0 if `causal`.",
            chunks_after=chunks_after,
        )
        self.num_hashes = as_integer("num_hashes", num_hashes)
        check(
            num_buckets is None or _are_even(_factors(num_buckets)),
            "`num_buckets` must be even and positive, or a tuple of such.",
            num_buckets=num_buckets,
        )
        check(
            not injected_rotations or num_buckets is not None,
            "`num_buckets` must be given if `injected_rotations`.",
            num_buckets=num_buckets,
        )
        self.chunk_length = self._windows.chunk_length
        self.chunks_before = self._windows.chunks_before
        self.chunks_after = self._windows.chunks_after
        if num_buckets is not None:
            # Plain integers, whatever they were: the config goes into JSON.
            factors = tuple(map(int, _factors(num_buckets)))
            num_buckets = factors[0] if len(factors) == 1 else factors
        self.num_buckets = num_buckets
        self.reference_compatible = reference_compatible
        self.injected_rotations = injected_rotations

    def build(self, input_shape):
        self._build_projections(
            input_shape, query_key=self.key_dim, value=self._value_dim
        )
        if self.injected_rotations:
            directions = sum(_factors(self.num_buckets)) // 2
            self.rotations = self.add_weight(
                shape=(
                    self.num_heads,
                    self.key_dim,
                    self.num_hashes,
                    directions,
                ),
                initializer=keras.initializers.RandomNormal(
                    stddev=1.0, seed=self.seed
                ),
                dtype="float32",
                autocast=False,
                trainable=False,
                name="rotations",
            )
        else:
            # A weight, so that what is saved goes on with the same rotations.
            self.hash_seed = self.add_weight(
                shape=(2,),
                initializer=_SeedInitializer(self.seed),
                dtype="int32",
                trainable=False,
                name="hash_seed",
            )

    def call(
        self,
        inputs,
        padding_mask=None,
        state=None,
        record=None,
        return_record=False,
        mask=None,
        training=False,
    ):
        padding_mask = self._check_call(inputs, padding_mask, mask, state)
        check(
            state is None or (record is None and not return_record),
            "`state` does not go with a record.",
            return_record=return_record,
        )
        if record is not None:
            check_shape(
                "record",
                record.shape,
                "(batch, num_heads, num_hashes, length)",
                num_heads=self.num_heads,
                num_hashes=self.num_hashes,
                **({"length": inputs.shape[1]} if inputs.shape[1] else {}),
            )
        query_key = self._project(self.query_key, inputs, self.key_dim)
        value = self._project(self.value, inputs, self._value_dim)
        arguments = {
            "windows": self._windows,
            "padding_mask": padding_mask,
            "dropout": self.dropout if training else 0.0,
        }
        hash_seed = None if self.injected_rotations else self.hash_seed
        if training:
            # Drawn whether it is needed or not: who computes the layer again
            # from a record gets the same.
            seed = stateless_random.draw(self.seed_generator)
            arguments["seed"] = stateless_random.fold_in(seed, 0)
            if state is None:
                hash_seed = stateless_random.fold_in(seed, 1)
        if state is None:
            length = inputs.shape[1]
            is_short = length is not None and length <= self.chunk_length
            if record is None and (return_record or not is_short):
                record = self._hash(
                    query_key, hash_seed, ops.shape(inputs)[1], padding_mask
                )
            outputs = lsh.attend(
                query_key, value, record, causal=self.causal, **arguments
            )
            extra = record if return_record else None
        else:
            room = ops.shape(state["value"])[2]
            buckets = self._hash(query_key, hash_seed, room, padding_mask)
            outputs, extra = lsh_step.attend_next(
                query_key, value, buckets, state, **arguments
            )
        outputs = self._join_heads(outputs)
        return outputs if extra is None else (outputs, extra)

    def initial_state(self, batch_size: int, max_length: int) -> dict:
        """The state before the first position.

        Args:
            batch_size: Number of sequences.
            max_length: Number of positions the state has room for.

        Returns:
            A dict of `query_key` `(batch, num_heads, max_length, key_dim)`
            and `value` alike, both in the compute dtype, int32 `buckets`
            `(batch, num_heads, num_hashes, max_length)`, `order` alike, the
            positions sorted by bucket, and int32 `position` `(batch,)`, the
            number of positions seen.
        """
        return lsh_step.initial_state(
            batch_size,
            max_length,
            num_heads=self.num_heads,
            num_hashes=self.num_hashes,
            key_dim=self.key_dim,
            value_dim=self._value_dim,
            dtype=self.compute_dtype,
        )

    def compute_output_spec(
        self,
        inputs,
        padding_mask=None,
        state=None,
        record=None,
        return_record=False,
        mask=None,
        training=False,
    ):
        outputs = super().compute_output_spec(inputs, state=state)
        if not return_record:
            return outputs
        batch_size, length = inputs.shape[:2]
        shape = (batch_size, self.num_heads, self.num_hashes, length)
        return outputs, keras.KerasTensor(shape, dtype="int32")

    def get_config(self):
        return {
            **super().get_config(),
            "chunk_length": self.chunk_length,
            "chunks_before": self.chunks_before,
            "chunks_after": self.chunks_after,
            "num_hashes": self.num_hashes,
            "num_buckets": self.num_buckets,
            "reference_compatible": self.reference_compatible,
            "injected_rotations": self.injected_rotations,
        }

    def inference_rotations(self):
        """What is drawn, anew but the same, for each call in inference.

        Returns:
            float32 `(num_heads, key_dim, num_hashes, directions)`, as the
            weight `rotations` has them if they are injected.

        Raises:
            ValueError: If the number of buckets goes by the length.
        """
        check(
            self.num_buckets is not None,
            "`num_buckets` must be given for rotations of any length.",
            num_buckets=self.num_buckets,
        )
        seed = None if self.injected_rotations else self.hash_seed
        return self._rotations(seed, _factors(self.num_buckets))

    def _hash(self, query_key, seed, room, padding_mask):
        """Buckets, of as many as fit sequences with some room."""
        factors = (
            lsh_hashing.bucket_factors(room, self.chunk_length)
            if self.num_buckets is None
            else _factors(self.num_buckets)
        )
        rotations = self._rotations(seed, factors)
        return lsh_hashing.hash_vectors(
            query_key, rotations, factors, padding_mask
        )

    def _rotations(self, seed, factors):
        if self.injected_rotations:
            return self.rotations.value
        return lsh_hashing.draw_rotations(
            seed,
            num_heads=self.num_heads,
            key_dim=self.key_dim,
            num_hashes=self.num_hashes,
            factors=factors,
        )


def _factors(num_buckets):
    is_several = isinstance(num_buckets, Sequence)
    return tuple(num_buckets) if is_several else (num_buckets,)


def _are_even(factors):
    return factors and all(
        isinstance(factor, Integral) and factor > 0 and factor % 2 == 0
        for factor in factors
    )


class _SeedInitializer(keras.initializers.Initializer):
    """Two random integers."""

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        # Reaches as far as floats tell integers apart.
        uniform = keras.initializers.RandomUniform(0, 2.0**24, seed=self.seed)
        return ops.cast(uniform(shape, "float32"), dtype)

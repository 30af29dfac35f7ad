"""What layers that write vectors as something discrete have in common."""

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.flat_vectors import flat_vectors
from keras_xf.layers.flat_vectors import hide
from keras_xf.metrics.joint_usage import JointUsage
from keras_xf.ops import stateless_random
from keras_xf.ops.replicas import replica_number

MASKED_OUTPUTS = ("zeros", "inputs")
# Combinations of codes that are counted: 4 MiB of numbers.
MOST_JOINT_CODES = 2**20
# What is left of running counts after a step, where nothing else hangs on them.
USAGE_DECAY = 0.99


class BottleneckLayer(keras.layers.Layer):
    """Shapes, masks, draws, and when a layer learns.

    Args:
        masked_outputs: Whether the outputs of what is masked are "zeros" or
            the "inputs" as they are.
        return_indices: Whether a call returns the indices too.
        freeze: Whether the layer stays as it is in training.
        seed: Seed of all that is drawn.
        **kwargs: `keras.layers.Layer` arguments.
    """

    def __init__(
        self, *, masked_outputs, return_indices, freeze, seed, **kwargs
    ):
        super().__init__(**kwargs)
        check(
            masked_outputs in MASKED_OUTPUTS,
            f"`masked_outputs` must be one of {MASKED_OUTPUTS}.",
            masked_outputs=masked_outputs,
        )
        self.masked_outputs = masked_outputs
        self.return_indices = return_indices
        self._freeze = freeze
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self.joint_usage = None

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

    def rematerialized_call(self, layer_call, *args, **kwargs):
        # Made again in the backward pass, a call would learn again.
        return layer_call

    @property
    def freeze(self) -> bool:
        """Whether the layer stays as it is in training.

        Its weights are made accordingly: of a layer that is built it is an
        error to set it to another value.
        """
        return self._freeze

    @freeze.setter
    def freeze(self, value):
        check(
            not self.built or value == self._freeze,
            "`freeze` must be set before a layer is built: one that was built "
            "frozen stays so, and `trainable=False` freezes one that was not.",
            freeze=value,
        )
        self._freeze = value

    @property
    def vector_dim(self) -> int:
        """Width of the vectors, of a layer that is built."""
        self._check_built()
        return self._dim

    def count_codes(self) -> int:
        """How many codes a vector may have.

        With parts that is the number of combinations of theirs, with bits that
        of the patterns. Code ids lie in `[0, count_codes())`.
        """
        raise NotImplementedError

    def to_code_ids(self, indices):
        """Writes what `encode` returns as one number a vector.

        Args:
            indices: int32 tensor `(...)`, with an axis for the parts behind if
                the layer has any.

        Returns:
            int32 tensor `(...)`, the first part counting the least; -1 where a
            mask has hidden a vector. Without parts these are the indices:
            bits are packed already.

        Raises:
            ValueError: With parts, as `DVQ.pack_indices` does.
        """
        return indices

    def from_code_ids(self, code_ids):
        """Makes of code ids what `decode_from_indices` takes.

        Args:
            code_ids: int32 tensor `(...)`, as `to_code_ids` returns it.

        Returns:
            int32 tensor `(...)`, with an axis for the parts behind if the layer
            has any. Without parts these are the code ids.

        Raises:
            ValueError: With parts, as `DVQ.unpack_indices` does.
        """
        return code_ids

    def get_config(self):
        return {
            **super().get_config(),
            "masked_outputs": self.masked_outputs,
            "return_indices": self.return_indices,
            "freeze": self.freeze,
            "seed": self.seed,
        }

    # What a layer made of this one says.

    # The metric of use, whose `counts_in_evaluation` holds for all.
    _usage_metric = None

    def _indices_shape(self, shape):
        return shape[:-1]

    # What it does for them.

    def _build_joint_usage(self):
        """Makes the metric of combinations, if it can hold all of them."""
        if self.count_codes() <= MOST_JOINT_CODES:
            self.joint_usage = JointUsage(
                self.count_codes(),
                prefix=f"{self.name}_",
                name=f"{self.name}_joint_usage",
                dtype="float32",
            )

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

    def _build_draw_seed(self):
        # Keras saves no seeds. With this one and the steps, training that
        # goes on draws what it would have drawn.
        self.draw_seed = self._state(
            "draw_seed", (2,), self._first_seed, dtype="int32"
        )

    def _first_seed(self, shape, dtype=None):
        return stateless_random.draw(self.seed_generator)

    def _seed_of(self, purpose, steps):
        # Of its own for each purpose, so that one does not shift the other.
        seed = ops.convert_to_tensor(self.draw_seed)
        seed = stateless_random.fold_in(seed, purpose)
        return stateless_random.fold_in(seed, ops.convert_to_tensor(steps))

    def _seed_for_replica(self, purpose, steps):
        """A seed that is another one on each replica."""
        seed = self._seed_of(purpose, steps)
        number, _ = replica_number()
        return stateless_random.fold_in(seed, number)

    def _is_learning(self, training):
        return training and self.trainable and not self.freeze

    def _is_counting(self, training):
        if training:
            return self._is_learning(training)
        return self._usage_metric.counts_in_evaluation

    def _vectors(self, inputs, mask):
        check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=self._dim)
        return flat_vectors(inputs, mask)

    def _vectors_to_build_for(self, inputs, mask):
        """Those of `_vectors`, of a layer that is built if they are right."""
        if not self.built:
            check_shape("inputs", inputs.shape, "(batch, ..., dim)", dim=None)
            flat_vectors(inputs, mask)
            self.build(inputs.shape)
        return self._vectors(inputs, mask)

    def _masked(self, outputs, inputs, mask):
        """Outputs `(batch, ..., dim)` of the compute dtype."""
        outputs = ops.reshape(outputs, ops.shape(inputs))
        outputs = ops.cast(outputs, self.compute_dtype)
        is_zero = self.masked_outputs == "zeros"
        return hide(outputs, mask, 0 if is_zero else inputs)

    def _checked_codebook(self, codebook, dtype, layout, **sizes):
        """A codebook, of a shape that is known and finite."""
        codebook = ops.cast(codebook, dtype)
        check_shape("codebook", codebook.shape, layout, **sizes)
        is_finite = bool(ops.all(ops.isfinite(codebook)))
        check(is_finite, "`codebook` must be finite.", is_finite=is_finite)
        return codebook

    def _check_built(self):
        check(
            self.built,
            "A layer must be built before its codebook is used.",
            layer=self.name,
        )

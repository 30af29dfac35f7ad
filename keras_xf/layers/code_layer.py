"""What layers that write vectors as indices of codes have in common."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check_shape
from keras_xf.layers.bottleneck_layer import BottleneckLayer
from keras_xf.layers.code_indices import as_code_indices
from keras_xf.layers.flat_vectors import hide
from keras_xf.layers.replica_losses import ReplicaLosses
from keras_xf.metrics.code_usage import CodeUsage
from keras_xf.metrics.loss_parts import LossParts
from keras_xf.ops import quantization


class CodeLayer(BottleneckLayer):
    """Codes, in parts, their indices, and what counts their use.

    A layer made of it says how codes are chosen and how they learn.

    Args:
        num_codes: Number of codes of a part.
        parts: Number of parts; each has `dim / parts` entries of a vector.
        codebook_initializer: Initializer of the codes; None for the layer's
            own.
        **kwargs: Arguments of `BottleneckLayer`.
    """

    def __init__(
        self,
        num_codes,
        *,
        parts=1,
        codebook_initializer,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_codes = as_integer("num_codes", num_codes)
        self._parts = parts
        self.codebook_initializer = keras.initializers.get(codebook_initializer)
        self._losses = ReplicaLosses()

    def count_codes(self):
        return self.num_codes**self._parts

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
            # Too large for a part it would be a code of the next.
            indices = ops.where(
                indices < self.num_codes, indices, self._parts * self.num_codes
            )
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
        layout, known = "(num_codes, dim)", {"num_codes": self.num_codes}
        if self._has_parts:
            layout, known["parts"] = "(parts, num_codes, dim)", self._parts
        dim = self._part_dim if self.built else None
        codebook = self._checked_codebook(
            codebook, "float32", layout, dim=dim, **known
        )
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

    def get_config(self):
        return {
            **super().get_config(),
            "num_codes": self.num_codes,
            "codebook_initializer": keras.initializers.serialize(
                self.codebook_initializer
            ),
        }

    # What a layer made of this one says.

    _is_trained_by_gradient = False
    _first_counts = "ones"
    _has_parts = False
    # What the losses that it adds are called.
    _loss_names = ()

    def _begin(self, codes, counts=None):
        """Sets codes, and the state that belongs to them."""
        raise NotImplementedError

    def _running_counts(self):
        """Running counts `(parts, num_codes)`."""
        raise NotImplementedError

    # What it does for them.

    def _build_codes(self, input_shape, initializer):
        """Makes the codes, what counts them, and the metrics."""
        check_shape("inputs", input_shape, "(batch, ..., dim)", dim=None)
        self._dim = input_shape[-1]
        self._part_dim = self._dim // self._parts
        shape = (self._parts, self.num_codes, self._part_dim)
        self.codes = self._state(
            "codes",
            shape,
            self.codebook_initializer or initializer,
            trainable=self._is_trained_by_gradient and not self.freeze,
        )
        self.counts = self._state("counts", shape[:2], self._first_counts)
        self.code_usage = CodeUsage(
            self._parts,
            self.num_codes,
            prefix=f"{self.name}_",
            running=lambda: self._running_counts(),
            dtype="float32",
        )
        if self._has_parts:
            self._build_joint_usage()
        if self._loss_names:
            self.loss_parts = LossParts(
                self._loss_names,
                prefix=f"{self.name}_",
                name=f"{self.name}_loss_parts",
                dtype="float32",
            )

    @property
    def _usage_metric(self):
        return self.code_usage

    def _add_losses(self, losses):
        """Adds losses, a dict by name."""
        if losses:
            self.add_loss(sum(losses.values()))

    def _measure(self, counts, chosen, losses, weights, values):
        """Updates the metrics by this replica's hits and losses.

        Args:
            counts: Hits `(parts, num_codes)`.
            chosen: Codes that were hit, `(samples, parts, number)`.
            losses: As they were added.
            weights: `(number,)`, or None.
            values: Float tensor of any shape; unless all of it is finite,
                nothing is counted.
        """
        is_finite = ops.isfinite(ops.sum(ops.cast(values, "float32")))
        share = ops.cast(is_finite, "float32")
        self.code_usage.update_state(counts * share)
        if self.joint_usage is not None:
            self.joint_usage.update_state(
                quantization.joint_hits(chosen, self.num_codes, weights) * share
            )
        if losses:
            total = ops.cast(ops.shape(chosen)[-1], "float32")
            if weights is not None:
                total = ops.sum(weights)
            # Zero times what is not finite is NaN.
            losses = {
                name: ops.where(is_finite, loss, 0.0)
                for name, loss in losses.items()
            }
            self.loss_parts.update_state(losses, total * share)

    def _indices_shape(self, shape):
        return (*shape[:-1], self._parts) if self._has_parts else shape[:-1]

    def _shaped_indices(self, indices, inputs, mask):
        shape = self._indices_shape(ops.shape(inputs))
        return hide(ops.reshape(ops.transpose(indices), shape), mask, -1)

"""Decomposed vector quantization (Kaiser et al., 2018)."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.initializers.per_slice import PerSlice
from keras_xf.layers.code_indices import as_code_indices
from keras_xf.layers.moving_codebook_layer import MovingCodebookLayer
from keras_xf.layers.restart import Restart
from keras_xf.ops import discrete
from keras_xf.ops import packing
from keras_xf.ops import quantization


@keras.saving.register_keras_serializable(package="keras_xf")
class DVQ(MovingCodebookLayer):
    """Writes each vector as several codes, one for each part of it.

    A vector is cut into slices, or projected to as many narrow vectors by fixed
    random matrices, and each of these has a codebook of its own, with moving
    averages, restarts and counts of its own. So `num_codes**num_parts` codes
    take the memory, and the search the time, of `num_codes` of full width, and
    fewer of them die.

    The outputs are the parts' codes side by side. Of projections they live in
    the projected space, and the gradient passes back through the projections.
    `codebook`, `usage` and indices have an axis for the parts. All else is as
    in `VQEMA`.

    Args:
        num_codes: Number of codes of a part.
        num_parts: Number of parts, which must divide the inputs' last axis.
        projected: Whether parts are projections and not slices.
        identity_gradient: With `projected`, whether the gradient skips the
            projections and reaches the inputs as it is: what the authors'
            code does.
        commitment: Weight of the commitment loss. The default is that of van
            den Oord et al., 2017.
        commitment_reduction: Whether losses are the "mean" over entries, or
            "sum_over_dim", the sum of them, as the paper has it.
        decay: What is left of the averages after a step. The default is that
            of van den Oord et al.; the authors have 0.999.
        epsilon: Of the Laplace smoothing, over the codes of a part; the
            default is the authors'.
        ema_init: How the averages begin; see `VQEMA`.
        keep_unhit: With "zero_debias", whether codes stay until they are hit
            first.
        restart: A `Restart`: when codes that nothing hits begin again. Never
            by default.
        samples: Number of codes that are drawn for each vector in training, by
            the softmax of `-|x - E|^2`: the outputs are their mean, and each
            is hit by a share. Nothing is drawn by default; Roy et al. have 5
            to 10. Indices are those of the nearest codes in any case.
        accumulation_steps: Number of training calls whose statistics are summed
            up, and learnt from once: that of an optimizer's
            `gradient_accumulation_steps`. Codes begin again from vectors of the
            last of them.
        first_batch: What the first training batch makes of the codes: "data"
            takes vectors of it, "k_means" what `adapt` makes of it, with the
            hits of that batch as counts, or with none if `ema_init` is
            "zero_debias".
            Under a strategy that is the batch of all replicas, which each step
            then sends to all: `adapt` does without. By default they stay as
            they were initialized, and so they do until then.
        codebook_initializer: Initializer of the codes; by default uniform in
            `+-sqrt(3 / dim)` of a part's width.
        masked_outputs: Whether outputs of what is masked are "zeros" or the
            "inputs", as they are.
        return_indices: Whether a call returns the indices too.
        freeze: Whether the codebook stays as it is in training. Once
            built, a layer that is not frozen has `trainable` for that.
        seed: Seed of the projections, of restarts, samples, `adapt` and
            `first_batch`.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        training: Whether the codebook learns.
        mask: Boolean `(batch, ...)`, True where a vector is real.

    Output shape:
        That of the inputs; with `return_indices` a pair of it and int32
        indices `(batch, ..., num_parts)`.

    Example:

    >>> layer = keras_xf.layers.DVQ(num_codes=4, num_parts=2)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])
    >>> indices = layer.encode(np.ones((2, 5, 8)))
    >>> indices.shape, layer.pack_indices(indices).shape
    (TensorShape([2, 5, 2]), TensorShape([2, 5]))

    Reference:
        [Kaiser et al., 2018](https://arxiv.org/abs/1803.03382), section 3.3
        [Roy et al., 2018](https://arxiv.org/abs/1805.11063), section 3
    """

    _has_parts = True

    def __init__(
        self,
        num_codes: int,
        num_parts: int = 2,
        projected: bool = False,
        identity_gradient: bool = False,
        commitment: float = 0.25,
        commitment_reduction: str = "mean",
        decay: float = 0.99,
        epsilon: float = 1e-5,
        ema_init: str = "ones",
        keep_unhit: bool = False,
        restart: Restart | None = None,
        samples: int = 0,
        accumulation_steps: int = 1,
        first_batch: str | None = None,
        codebook_initializer=None,
        masked_outputs: str = "zeros",
        return_indices: bool = False,
        freeze: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        num_parts = as_integer("num_parts", num_parts)
        check(
            projected or not identity_gradient,
            "`identity_gradient` must be False without `projected`.",
            identity_gradient=identity_gradient,
        )
        super().__init__(
            num_codes,
            parts=num_parts,
            commitment=commitment,
            commitment_reduction=commitment_reduction,
            decay=decay,
            epsilon=epsilon,
            ema_init=ema_init,
            keep_unhit=keep_unhit,
            restart=restart,
            samples=samples,
            accumulation_steps=accumulation_steps,
            first_batch=first_batch,
            masked_outputs=masked_outputs,
            codebook_initializer=codebook_initializer,
            return_indices=return_indices,
            freeze=freeze,
            seed=seed,
            **kwargs,
        )
        self.num_parts = num_parts
        self.projected = projected
        self.identity_gradient = identity_gradient

    def pack_indices(self, indices, order: str = "little"):
        """Writes the indices of the parts as one.

        Args:
            indices: Integer tensor `(..., num_parts)`.
            order: Whether the first part counts the least, "little", or the
                most, "big".

        Returns:
            int32 tensor `(...)`, `sum_i indices[i] num_codes**i`; -1 where a
            mask has hidden a vector.

        Raises:
            ValueError: If there are more than `2**31` packed indices, if shape
                or dtype are others, or, in eager execution, if an index is out
                of range.
        """
        packing.check_packable(self.num_codes, self.num_parts)
        indices = as_code_indices(indices, self.num_codes)
        check_shape(
            "indices",
            indices.shape,
            "(..., num_parts)",
            num_parts=self.num_parts,
        )
        return packing.pack(indices, self.num_codes, order)

    def unpack_indices(self, packed, order: str = "little"):
        """Reads the indices of the parts from one.

        Args:
            packed: Integer tensor `(...)`.
            order: As for `pack_indices`.

        Returns:
            int32 tensor `(..., num_parts)`; -1 where the number is negative.
            Of a number that is too large the part that counts the most is out
            of range, which a look-up notices.

        Raises:
            ValueError: If there are more than `2**31` packed indices, if the
                dtype is none of integers, or, in eager execution, if a number
                is out of range.
        """
        packing.check_packable(self.num_codes, self.num_parts)
        packed = as_code_indices(packed, self.count_codes())
        return packing.unpack(packed, self.num_codes, self.num_parts, order)

    def to_code_ids(self, indices):
        return self.pack_indices(indices)

    def from_code_ids(self, code_ids):
        return self.unpack_indices(code_ids)

    def get_config(self):
        return {
            **super().get_config(),
            "num_parts": self.num_parts,
            "projected": self.projected,
            "identity_gradient": self.identity_gradient,
        }

    def _build_rest(self):
        super()._build_rest()
        if self.projected:
            self.projections = self._state(
                "projections",
                (self.num_parts, self._dim, self._part_dim),
                PerSlice(keras.initializers.GlorotUniform(self.seed)),
            )

    def _to_parts(self, vectors):
        if not self.projected:
            return super()._to_parts(vectors)
        vectors = ops.cast(vectors, "float32")
        return ops.matmul(vectors[None], self.projections)

    def _outputs(self, vectors, parts, rows):
        if not self.identity_gradient:
            return super()._outputs(vectors, parts, rows)
        rows = ops.cast(quantization.join(rows), vectors.dtype)
        return discrete.straight_through(rows, vectors)

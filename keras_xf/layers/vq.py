"""Vector quantization with a codebook that learns by its gradient."""

import keras
from keras import ops

from keras_xf.layers.bottleneck_layer import USAGE_DECAY
from keras_xf.layers.codebook_layer import CodebookLayer
from keras_xf.ops import quantization


@keras.saving.register_keras_serializable(package="keras_xf")
class VQ(CodebookLayer):
    """Writes each vector as its nearest code, which an optimizer moves.

    The outputs are rows of the codebook, `E[argmin_j |x - E_j|]` (equation 1),
    exactly, with the gradient of the inputs. The codebook learns by a loss of
    its own, not by that of the outputs (equation 3): the layer adds
    `mean(|sg(x) - E|^2) + commitment * mean(|x - sg(E)|^2)`. The means are over
    entries too, as in all published code. Weight decay would draw unused codes
    to zero: leave the codebook out of it.

    Masks, precision and rematerialization are handled as in `VQEMA`, whose
    codebook learns faster.

    Args:
        num_codes: Number of codes.
        commitment: Weight of the commitment loss. The default is the paper's,
            which found 0.1 to 2 to do as well.
        commitment_reduction: Whether losses are the "mean" over entries, or
            "sum_over_dim", the sum of them, as the paper has it.
        first_batch: What the first training batch makes of the codes: "data"
            takes vectors of it, "k_means" what `adapt` makes of it, with the
            hits of that batch as counts.
            Under a strategy that is the batch of all replicas, which each step
            then sends to all: `adapt` does without. By default they stay as
            they were initialized, and so they do until then.
        codebook_initializer: Initializer of the codes; by default uniform in
            `+-sqrt(3 / dim)`, as in Sonnet.
        masked_outputs: Whether outputs of what is masked are "zeros" or the
            "inputs", as they are.
        return_indices: Whether a call returns the indices too.
        freeze: Whether the codebook stays as it is in training. Once
            built, a layer that is not frozen has `trainable` for that.
        seed: Seed of `adapt` and of `first_batch`.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        training: Whether hits are counted.
        mask: Boolean `(batch, ...)`, True where a vector is real.

    Output shape:
        That of the inputs; with `return_indices` a pair of it and int32
        indices `(batch, ...)`.

    Example:

    >>> layer = keras_xf.layers.VQ(num_codes=16)
    >>> layer(np.ones((2, 5, 8))).shape
    TensorShape([2, 5, 8])

    Reference:
        [van den Oord et al., 2017](https://arxiv.org/abs/1711.00937)
    """

    _is_trained_by_gradient = True
    _loss_names = ("codebook", "commitment")

    def __init__(
        self,
        num_codes: int,
        commitment: float = 0.25,
        commitment_reduction: str = "mean",
        first_batch: str | None = None,
        codebook_initializer=None,
        masked_outputs: str = "zeros",
        return_indices: bool = False,
        freeze: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            num_codes,
            commitment=commitment,
            commitment_reduction=commitment_reduction,
            first_batch=first_batch,
            masked_outputs=masked_outputs,
            codebook_initializer=codebook_initializer,
            return_indices=return_indices,
            freeze=freeze,
            seed=seed,
            **kwargs,
        )

    def _build_rest(self):
        # The optimizer holds the rest of the state.
        pass

    def _losses_of(self, parts, rows, weights):
        # Of the rows themselves: what the layer returns has no gradient for
        # the codebook.
        own = quantization.mean_square(
            ops.stop_gradient(parts), rows, weights, self.commitment_reduction
        )
        return {"codebook": own, **super()._losses_of(parts, rows, weights)}

    def _learn(self, parts, weights, counts, sums):
        change = (counts - self.counts) * (1 - USAGE_DECAY)
        is_usable = quantization.is_usable(counts, sums)
        self.counts.assign_add(ops.where(is_usable, change, 0.0))

    def _put(self, codes, counts, is_due):
        if counts is None:
            counts = ops.ones_like(self.counts)
        self.codes.assign(ops.where(is_due, codes, self.codes))
        self.counts.assign(ops.where(is_due, counts, self.counts))

    def _running_counts(self):
        return ops.convert_to_tensor(self.counts)

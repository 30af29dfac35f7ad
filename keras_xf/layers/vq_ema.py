"""Vector quantization with a codebook of moving averages."""

import keras

from keras_xf.layers.moving_codebook_layer import MovingCodebookLayer
from keras_xf.layers.restart import Restart


@keras.saving.register_keras_serializable(package="keras_xf")
class VQEMA(MovingCodebookLayer):
    """Writes each vector as its nearest code, which moves to its vectors.

    The outputs are rows of the codebook, `E[argmin_j |x - E_j|]` (equation 1),
    exactly, with the gradient of the inputs. In training the codes follow
    moving averages of the vectors that hit them (appendix A.1): no gradient
    reaches them, and no optimizer may. Outputs, losses and indices of a step
    are those of the codebook before it.

    It adds the commitment loss `commitment * mean(|x - E|^2)` (equation 3). The
    mean is over entries too, as in all published code; times `dim` the weight
    is that of the paper. Under a strategy statistics are summed over replicas.

    The state changes with `training=True` alone, while `trainable` is true and
    `freeze` is not. A batch of nothing, or with a vector that is not finite,
    changes nothing; in eager execution the latter is an error. Each call is a
    step, so that the layer must not be part of a function that is
    rematerialized, as by `keras.remat` or `tf.recompute_grad`: it would learn
    twice. `keras.RematScope` leaves the layer itself out, but no model that is
    made in the scope.

    What is masked is in no statistic and no loss; its outputs are zeros, or as
    `masked_outputs` says, its indices -1. The mask passes on.

    Distances, averages and losses are computed, and the state kept, in float32
    under every policy.

    Args:
        num_codes: Number of codes.
        commitment: Weight of the commitment loss. The default is the paper's,
            which found 0.1 to 2 to do as well.
        commitment_reduction: Whether losses are the "mean" over entries, or
            "sum_over_dim", the sum of them, as the paper has it.
        decay: What is left of the averages after a step. The default is the
            paper's; the Latent Transformer has 0.999.
        epsilon: Of the Laplace smoothing, which keeps counts from zero; the
            default is that of Kaiser et al. and of Sonnet.
        ema_init: How the averages begin. "ones": with one hit of each code,
            which an unused code keeps it in place by. "zero_debias": with
            zeros, divided out, as in Sonnet, where a code that the first step
            does not hit falls to the origin.
        keep_unhit: With "zero_debias", whether codes stay until they are hit
            first.
        restart: A `Restart`: when codes that nothing hits begin again from
            vectors of the batch. Never by default.
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
            `+-sqrt(3 / dim)`, as in Sonnet.
        masked_outputs: Whether outputs of what is masked are "zeros" or the
            "inputs", as they are.
        return_indices: Whether a call returns the indices too.
        freeze: Whether the codebook stays as it is in training. Once
            built, a layer that is not frozen has `trainable` for that.
        seed: Seed of restarts, samples, `adapt` and `first_batch`.
        **kwargs: `keras.layers.Layer` arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor `(batch, ..., dim)`.
        training: Whether the codebook learns.
        mask: Boolean `(batch, ...)`, True where a vector is real.

    Output shape:
        That of the inputs; with `return_indices` a pair of it and int32
        indices `(batch, ...)`.

    Example:

    >>> layer = keras_xf.layers.VQEMA(num_codes=16, return_indices=True)
    >>> outputs, indices = layer(np.ones((2, 5, 8)), training=True)
    >>> outputs.shape, indices.shape
    (TensorShape([2, 5, 8]), TensorShape([2, 5]))
    >>> layer.decode_from_indices(indices).shape
    TensorShape([2, 5, 8])

    Reference:
        [van den Oord et al., 2017](https://arxiv.org/abs/1711.00937)
        [Roy et al., 2018](https://arxiv.org/abs/1805.11063), section 3
    """

    def __init__(
        self,
        num_codes: int,
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
        super().__init__(
            num_codes,
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

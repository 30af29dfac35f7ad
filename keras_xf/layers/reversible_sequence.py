"""Stack of reversible residual blocks (Kitaev et al., 2020)."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_xf.checks import check
from keras_xf.checks import check_shape
from keras_xf.layers.joined_mask import mask_of_all
from keras_xf.layers.stateless_branch import StatelessBranch
from keras_xf.layers.wrapping import build_wrapped
from keras_xf.ops import reversible


@keras.saving.register_keras_serializable(package="keras_xf")
class ReversibleSequence(keras.layers.Layer):
    """Blocks of two residual streams that training need not keep.

    A block is a pair of layers `f` and `g`, usually a `Sublayer` of attention
    and one of a feed-forward network, and computes `y1 = x1 + f(x2)`,
    `y2 = x2 + g(y1)`, equation (9) of the Reformer. Training keeps the top of
    the stack alone. The gradient reconstructs each block's inputs from its
    outputs, computing `f` and `g` again just as they were, with the same seeds,
    so a further block takes memory for its weights and their gradients only, at
    a third more time. Layers with the attribute `keeps_record`, such as
    `LSHSelfAttention`, also keep what they decided: which bucket a vector
    falls in must not be asked of a reconstruction, which may be off.

    The streams are float32, or float64 under that policy, and added up in
    float64 inside, or 24 blocks could not be undone: gradients equal those of
    `reversible=False` but for what a compiler does otherwise when it computes
    `f` and `g` again, some 1e-6 in parts of their size. What `f` and `g`
    compute in is their own matter.

    The gradient is of first order, and by `tf.GradientTape`; to differentiate
    it again is an error unless `reversible=False`.

    Masks reach layers that take a `padding_mask` or Keras's `mask`.

    Args:
        blocks: Pairs of layers, each of one input whose output has its shape.
            Layers may be used more than once. They draw random numbers by
            `keras.random.SeedGenerator` only, make their weights in `build`,
            and update non-trainable ones only: that happens once. They must
            not have metrics, activity regularizers or losses of their own.
        reversible: Whether the gradient reconstructs. If not, values and seeds
            are the same and all activations are kept, which takes a quarter
            less time.
        **kwargs: `keras.layers.Layer` arguments, such as `name`. A `dtype` of
            half precision stands for float32.

    Call arguments:
        inputs: Pair of float tensors `(batch, ..., dim)` of one shape, the
            streams. The Reformer begins with twice the same.
        padding_mask: Boolean `(batch, length)`, True where a position is real.
        training: Whether `f` and `g` are trained; if not, all is kept that a
            gradient might want.

    Output shape:
        A pair of `(batch, ..., dim)`.

    Example:

    >>> blocks = [
    ...     (
    ...         keras_xf.layers.Sublayer(keras_xf.layers.SelfAttention(2, 4)),
    ...         keras_xf.layers.Sublayer(keras_xf.layers.FeedForward(32)),
    ...     )
    ...     for _ in range(6)
    ... ]
    >>> layer = keras_xf.layers.ReversibleSequence(blocks)
    >>> x = np.ones((2, 5, 8))
    >>> y1, y2 = layer((x, x), training=True)
    >>> y1.shape
    TensorShape([2, 5, 8])

    Reference:
        [Gomez et al., 2017](https://arxiv.org/abs/1707.04585)
        [Kitaev et al., 2020](https://arxiv.org/abs/2001.04451), section 3
    """

    def __init__(
        self,
        blocks: Sequence[tuple[keras.layers.Layer, keras.layers.Layer]],
        reversible: bool = True,
        **kwargs,
    ):
        policy = keras.dtype_policies.get(kwargs.pop("dtype", None))
        is_wide = policy.variable_dtype == "float64"
        super().__init__(
            dtype="float64" if is_wide else "float32", autocast=False, **kwargs
        )
        check(
            _are_pairs(blocks),
            "`blocks` must be pairs of `keras.layers.Layer`.",
            blocks=blocks,
        )
        self.blocks = [tuple(block) for block in blocks]
        self.reversible = reversible
        self.supports_masking = True

    def build(self, input_shape):
        _check_streams(input_shape)
        for number, block in enumerate(self.blocks):
            for layer in block:
                _check_parts(layer, number)
                build_wrapped(layer, input_shape[0])
                # Some are made only then.
                _check_parts(layer, number)
        self._dim = input_shape[0][-1]

    def call(self, inputs, padding_mask=None, training=False):
        _check_streams([x.shape for x in _pair(inputs)], self._dim)
        padding_mask = mask_of_all(inputs, padding_mask)
        layers = [layer for block in self.blocks for layer in block]
        weights = _Places(v for x in layers for v in x.trainable_variables)
        state = _Places(v for x in layers for v in x.non_trainable_variables)
        branches = [
            reversible.Branch(
                StatelessBranch(
                    layer,
                    place=f"{'fg'[index % 2]} of block {index // 2}",
                    padding_mask=padding_mask,
                    training=training,
                ),
                weights.of(layer.trainable_variables),
                state.of(layer.non_trainable_variables),
            )
            for index, layer in enumerate(layers)
        ]
        before = state.values()
        y1, y2, after = reversible.reversible_sequence(
            list(zip(branches[::2], branches[1::2], strict=True)),
            *(ops.cast(x, self.compute_dtype) for x in inputs),
            weights.values(),
            before,
            recompute=bool(self.reversible and training),
        )
        for variable, old, new in zip(
            state.variables, before, after, strict=True
        ):
            if new is not old:
                variable.assign(new)
        return y1, y2

    def compute_output_shape(self, input_shape):
        return tuple(tuple(shape) for shape in input_shape)

    def compute_output_spec(self, inputs, padding_mask=None, training=False):
        _check_streams(
            [x.shape for x in _pair(inputs)], self._dim if self.built else None
        )
        return tuple(
            keras.KerasTensor(x.shape, dtype=self.compute_dtype) for x in inputs
        )

    def get_config(self):
        layers, configs = [], []
        for layer in (layer for block in self.blocks for layer in block):
            # One that comes again is its first place, to be shared again.
            place = next(
                (n for n, other in enumerate(layers) if other is layer), None
            )
            layers.append(layer)
            configs.append(
                keras.saving.serialize_keras_object(layer)
                if place is None
                else place
            )
        return {
            **super().get_config(),
            "blocks": [
                list(pair)
                for pair in zip(configs[::2], configs[1::2], strict=True)
            ],
            "reversible": self.reversible,
        }

    @classmethod
    def from_config(cls, config):
        layers = []
        for part in (part for block in config["blocks"] for part in block):
            layers.append(
                layers[part]
                if isinstance(part, int)
                else keras.saving.deserialize_keras_object(part)
            )
        blocks = list(zip(layers[::2], layers[1::2], strict=True))
        return cls(**{**config, "blocks": blocks})


def _check_parts(layer, block):
    check(
        not layer.metrics,
        "`blocks` must not have metrics: they would be updated twice.",
        block=block,
        layer=layer.name,
        metrics=len(layer.metrics),
    )
    for part in _parts(layer):
        # Others that add losses are found when they do.
        check(
            part.activity_regularizer is None,
            "`blocks` must not have activity regularizers: their losses would "
            "be added twice.",
            block=block,
            layer=part.name,
        )


def _parts(layer):
    """A layer and those that it wraps or is a chain or graph of."""
    yield layer
    wrapped = [getattr(layer, "layer", None), *getattr(layer, "layers", ())]
    for part in wrapped:
        if isinstance(part, keras.layers.Layer):
            yield from _parts(part)


class _Places:
    """Variables, each once, and their places."""

    def __init__(self, variables):
        self.variables = list({id(v): v for v in variables}.values())
        self._places = {id(v): n for n, v in enumerate(self.variables)}

    def of(self, variables):
        return tuple(self._places[id(variable)] for variable in variables)

    def values(self):
        return [variable.value for variable in self.variables]


def _are_pairs(blocks):
    return (
        isinstance(blocks, Sequence)
        and len(blocks) > 0
        and all(
            isinstance(block, Sequence)
            and len(block) == 2
            and all(isinstance(layer, keras.layers.Layer) for layer in block)
            for block in blocks
        )
    )


def _pair(inputs):
    check(
        isinstance(inputs, Sequence) and len(inputs) == 2,
        "`inputs` must be a pair of streams.",
        inputs=inputs,
    )
    return inputs


def _check_streams(shapes, dim=None):
    x1, x2 = (tuple(shape) for shape in _pair(shapes))
    check_shape("inputs", x1, "(batch, ..., dim)", dim=dim)
    check(
        len(x1) == len(x2)
        and all(a == b for a, b in zip(x1, x2, strict=True) if a and b),
        "`inputs` must be two streams of the same shape.",
        x1=x1,
        x2=x2,
    )

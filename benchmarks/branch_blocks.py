"""Blocks of attention and feed-forward to compare: in branches, and whole.

All have their residual connections and normalizations: the one of branches a
single pair, the ordinary ones a pair each for attention and feed-forward.
"""

from collections.abc import Mapping

import keras
from keras import ops

from benchmarks.flops import forward_flops
from keras_xf import layers
from keras_xf.ops import attention

EPSILON = 1e-5


def build_block(implementation: str, sizes: Mapping) -> keras.Model:
    """Builds a block.

    Args:
        implementation: "folded" or "unfolded", a `MultiBranchAttention`;
            "loop", the same with a list of networks behind a joint attention,
            and "loop of heads" with a list of everything, as ports of the paper
            have it; "standard", an attention and a feed-forward of ours; or
            "stock", both of Keras.
        sizes: `batch_size`, `length`, `hidden_dim`, `num_heads`,
            `intermediate_dim` and `dtype`.

    Returns:
        A model from `inputs`, float `(batch, length, hidden_dim)`, to as much.
    """
    dim, heads = sizes["hidden_dim"], sizes["num_heads"]
    wide, dtype = sizes["intermediate_dim"], sizes.get("dtype")
    shape = (sizes["batch_size"], sizes["length"], dim)
    inputs = keras.Input(
        shape[1:], batch_size=shape[0], name="inputs", dtype="float32"
    )

    def residual(layer):
        return layers.Residual(layer, epsilon=EPSILON, dtype=dtype)

    if implementation in ("folded", "unfolded"):
        block = residual(
            layers.MultiBranchAttention(
                heads, wide, fold=implementation == "folded", dtype=dtype
            )
        )
        outputs = block(inputs)
    elif implementation.startswith("loop"):
        block = residual(
            BranchLoop(
                heads,
                wide,
                separate_heads=implementation == "loop of heads",
                dtype=dtype,
            )
        )
        outputs = block(inputs)
    elif implementation == "standard":
        outputs = residual(
            layers.SelfAttention(
                heads, dim // heads, use_bias=False, dtype=dtype
            )
        )(inputs)
        outputs = residual(layers.FeedForward(wide, dtype=dtype))(outputs)
    else:
        outputs = _stock(inputs, sizes)
    return keras.Model({"inputs": inputs}, {"outputs": outputs})


def compile_block(model: keras.Model, jit_compile: bool = False) -> None:
    """Gives a model of `build_block` a loss and Adam."""
    model.compile(
        keras.optimizers.Adam(1e-4),
        loss={"outputs": keras.losses.MeanSquaredError()},
        jit_compile=jit_compile,
    )


def block_flops(sizes: Mapping) -> float:
    """Operations of a training step of the ordinary block.

    Args:
        sizes: `batch_size`, `length`, `hidden_dim` and `intermediate_dim`.
    """
    sizes = {**sizes, "num_layers": 1, "vocabulary_size": 0}
    rows = sizes["batch_size"] * sizes["length"]
    # Each product has two in the backward pass.
    return 3 * forward_flops(sizes, rows, rows * sizes["length"])


class BranchLoop(keras.layers.Layer):
    """Attention in branches, one after the other in Python.

    Args:
        num_branches: Number of branches.
        intermediate_dim: Width inside the networks, of all together.
        separate_heads: Whether each branch projects its own head, too.
        **kwargs: `keras.layers.Layer` arguments.
    """

    def __init__(
        self, num_branches, intermediate_dim, separate_heads, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_branches = num_branches
        self.intermediate_dim = intermediate_dim
        self.separate_heads = separate_heads

    def build(self, inputs_shape):
        dim = inputs_shape[-1]
        number = self.num_branches
        times = number if self.separate_heads else 1

        def dense(units, fan, **options):
            layer = keras.layers.Dense(
                units, dtype=self.dtype_policy, **options
            )
            layer.build((None, None, fan))
            return layer

        self.projections = [
            [dense(dim // times, dim, use_bias=False) for _ in range(times)]
            for _ in range(3)
        ]
        self.output_projections = [
            dense(dim, dim // number, use_bias=False) for _ in range(number)
        ]
        hidden = self.intermediate_dim // number
        self.widen = [
            dense(hidden, dim, activation="relu") for _ in range(number)
        ]
        self.narrow = [dense(dim, hidden) for _ in range(number)]
        self.kappa, self.alpha = (
            self.add_weight(
                name=name,
                shape=(number,),
                initializer=keras.initializers.Constant(1 / number),
            )
            for name in ("kappa", "alpha")
        )

    def call(self, inputs):
        queries, keys, values = (
            [projection(inputs) for projection in each]
            for each in self.projections
        )
        if self.separate_heads:
            heads = [
                attention.attend(*(x[:, None] for x in head))[:, 0]
                for head in zip(queries, keys, values, strict=True)
            ]
        else:
            batch_size, length, dim = inputs.shape
            number = self.num_branches

            def split(x):
                shape = (batch_size, length, number, dim // number)
                return ops.transpose(ops.reshape(x, shape), (0, 2, 1, 3))

            joint = attention.attend(
                *(split(x[0]) for x in (queries, keys, values))
            )
            heads = ops.unstack(joint, axis=1)
        outputs = []
        for place, head in enumerate(heads):
            branch = self.kappa[place] * self.output_projections[place](head)
            branch = self.narrow[place](self.widen[place](branch))
            outputs.append(self.alpha[place] * branch)
        return sum(outputs)


def _stock(inputs, sizes):
    dim, heads = sizes["hidden_dim"], sizes["num_heads"]
    dtype = sizes.get("dtype")

    def normalize(x):
        return keras.layers.LayerNormalization(epsilon=EPSILON, dtype=dtype)(x)

    normalized = normalize(inputs)
    attended = keras.layers.MultiHeadAttention(
        heads, dim // heads, use_bias=False, dtype=dtype
    )(normalized, normalized)
    x = keras.layers.Add(dtype=dtype)([inputs, attended])
    hidden = keras.layers.Dense(sizes["intermediate_dim"], "relu", dtype=dtype)(
        normalize(x)
    )
    narrowed = keras.layers.Dense(dim, dtype=dtype)(hidden)
    return keras.layers.Add(dtype=dtype)([x, narrowed])

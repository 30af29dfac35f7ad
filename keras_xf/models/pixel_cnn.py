"""Gated PixelCNN over codes of images (van den Oord et al., 2016)."""

import math
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.layers import Dropout
from keras_xf.layers import GatedPixelConvolution
from keras_xf.layers import TokenEmbedding
from keras_xf.layers.convolutions import Convolution
from keras_xf.layers.convolutions import TransposedConvolution
from keras_xf.models.code_levels import class_input
from keras_xf.models.code_levels import code_levels
from keras_xf.models.seeds import Seeds
from keras_xf.ops.logits import wide_dtype


def build_pixel_cnn(
    *,
    code_shapes: Mapping[str, Sequence[int]],
    num_codes: Mapping[str, int],
    num_classes: int | None = None,
    num_layers: int = 12,
    hidden_dim: int = 128,
    output_dim: int = 256,
    kernel_size: int = 3,
    first_kernel_size: int = 7,
    num_condition_blocks: int = 3,
    dropout: float = 0.1,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds a gated PixelCNN of codes, for each level one.

    That of the bottom is told of the top: its codes are embedded, go through
    residual blocks of convolutions, which look in all directions, and are
    enlarged to the size of the bottom. The mean of all of them is added to
    each, so that every code of the bottom sees every code of the top, however
    few the blocks are.

    The kernels are the paper's, and so is a stack that begins with a larger
    one; it does not tell its sizes for all of its models. The default depth and
    widths are such that a small image's model trains on a CPU. `dropout` and
    the number of blocks of the condition are those of rosinality's VQ-VAE-2,
    whose prior for 32 x 32 codes is 20 layers, 256 wide, with kernels of 5.

    Args:
        code_shapes: Height and width of the codes by their names: of
            `code_ids`, or of `top_code_ids` and `bottom_code_ids`.
        num_codes: Number of codes by the same names.
        num_classes: Number of classes; None for a model of all images alike.
        num_layers: Number of `GatedPixelConvolution`s of each level, the first
            one counted.
        hidden_dim: Width of both stacks, and of the condition.
        output_dim: Width of the layer before the logits.
        kernel_size: Odd size of the kernels.
        first_kernel_size: That of the first ones.
        num_condition_blocks: Number of residual blocks between top and bottom;
            without meaning if there is one level.
        dropout: Fraction of the activations dropped in training, in each layer
            and in each residual block.
        seed: Seed of the weights and of the dropout; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.

    Returns:
        A model from a dict of the codes, int32 `(batch, height, width)`, and
        with classes of `class_ids`, int32 `(batch,)`, to a dict of
        `code_logits`, or `top_code_logits` and `bottom_code_logits`, float32
        `(batch, height, width, num_codes)`: those of each code, given the
        class, the codes before it in raster order and, for a code of the
        bottom, the whole top. `code_sampler` samples from it.

    Raises:
        ValueError: If arguments are out of range or do not go together.

    Reference:
        [van den Oord et al., 2016](https://arxiv.org/abs/1606.05328), section 2
        [Razavi et al., 2019](https://arxiv.org/abs/1906.00446), section 3.2
    """
    levels = code_levels(code_shapes, num_codes)
    as_integer("num_layers", num_layers)
    as_integer("hidden_dim", hidden_dim)
    as_integer("output_dim", output_dim)
    as_integer("num_condition_blocks", num_condition_blocks, least=0)
    check(0 <= dropout < 1, "`dropout` must lie in [0, 1).", dropout=dropout)
    seeds = Seeds(seed)

    codes = {level.ids: level.input() for level in levels}
    class_ids = class_input(num_classes)
    parts = _Parts(hidden_dim, dropout, seeds, dtype)
    outputs = {}
    condition = {}
    for level in levels:
        x = parts.embed(level, f"{level.name}_embedding")(codes[level.ids])
        pair = (x, x)
        for index in range(num_layers):
            pair = GatedPixelConvolution(
                hidden_dim,
                kernel_size if index else first_kernel_size,
                strict=index == 0,
                num_classes=num_classes,
                dropout=dropout,
                # As many matrices as it has.
                kernel_initializer=parts.kernel(draws=6),
                seed=seeds.next(),
                dtype=dtype,
                name=f"{level.name}_block_{index}",
            )(pair, **condition, **class_ids)
        x = keras.layers.ReLU(dtype=dtype, name=f"{level.name}_relu")(pair[1])
        x = parts.dense(output_dim, f"{level.name}_hidden", "relu")(x)
        logits = keras.layers.Dense(
            level.num_codes,
            kernel_initializer=parts.kernel(),
            dtype=wide_dtype(x.dtype),
            name=level.logits,
        )
        outputs[level.logits] = logits(x)
        if level is not levels[-1]:
            condition = {
                "condition": _condition(
                    parts,
                    codes[level.ids],
                    level,
                    levels[-1].shape,
                    num_condition_blocks,
                )
            }
    return keras.Model(codes | class_ids, outputs, name="pixel_cnn")


class _Parts:
    """Layers of one width, each with seeds of its own."""

    def __init__(self, hidden_dim, dropout, seeds, dtype):
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.seeds = seeds
        self.dtype = dtype

    def kernel(self, draws=1):
        return keras.initializers.GlorotUniform(seed=self.seeds.next(draws))

    def embed(self, level, name):
        return TokenEmbedding(
            level.num_codes,
            self.hidden_dim,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=self.hidden_dim**-0.5, seed=self.seeds.next()
            ),
            dtype=self.dtype,
            name=name,
        )

    def dense(self, dim, name, activation=None):
        return keras.layers.Dense(
            dim,
            activation=activation,
            kernel_initializer=self.kernel(),
            dtype=self.dtype,
            name=name,
        )

    def convolution(self, kernel_size, name):
        return Convolution(
            self.hidden_dim,
            kernel_size,
            padding="same",
            data_format="channels_last",
            kernel_initializer=self.kernel(),
            dtype=self.dtype,
            name=name,
        )

    def residual_block(self, x, name):
        """The block of the VQ-VAE's encoder, with dropout."""
        y = keras.layers.ReLU(dtype=self.dtype, name=f"{name}_relu")(x)
        y = self.convolution(3, f"{name}_look")(y)
        y = keras.layers.ReLU(dtype=self.dtype, name=f"{name}_second_relu")(y)
        y = self.convolution(1, f"{name}_project")(y)
        y = Dropout(
            self.dropout,
            seed=self.seeds.next(),
            dtype=self.dtype,
            name=f"{name}_dropout",
        )(y)
        return keras.layers.Add(dtype=self.dtype, name=name)([x, y])


def _condition(parts, codes, level, shape, num_blocks):
    """What a level of `shape` is told of another level's codes."""
    name = f"{level.name}_condition"
    options = {"dtype": parts.dtype, "data_format": "channels_last"}
    x = parts.embed(level, f"{name}_embedding")(codes)
    # No number of convolutions would do for codes of any size.
    mean = keras.layers.GlobalAveragePooling2D(
        keepdims=True, name=f"{name}_mean", **options
    )(x)
    mean = parts.dense(parts.hidden_dim, f"{name}_all")(mean)
    # Keras's sum would take a mean of no rows for a bias.
    mean = keras.layers.UpSampling2D(
        level.shape, name=f"{name}_everywhere", **options
    )(mean)
    for index in range(num_blocks):
        x = parts.residual_block(x, f"{name}_block_{index}")
    x = keras.layers.Add(dtype=parts.dtype, name=f"{name}_sum")([x, mean])

    factors = [
        math.ceil(new / old)
        for new, old in zip(shape, level.shape, strict=True)
    ]
    x = TransposedConvolution(
        parts.hidden_dim,
        # As wide as bilinear interpolation: each place sees two of the old
        # ones on each axis.
        [2 * factor - factor % 2 for factor in factors],
        strides=factors,
        padding="same",
        kernel_initializer=parts.kernel(),
        name=f"{name}_enlarged",
        **options,
    )(x)
    surplus = [
        (0, old * factor - new)
        for new, old, factor in zip(shape, level.shape, factors, strict=True)
    ]
    return keras.layers.Cropping2D(surplus, name=name, **options)(x)

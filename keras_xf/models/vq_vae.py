"""VQ-VAEs of images, of one level or two, and their two halves."""

from collections.abc import Sequence

import keras

from keras_xf.checks import as_integer
from keras_xf.checks import check
from keras_xf.layers import CodeDecoder
from keras_xf.layers import CodeEncoder
from keras_xf.models.bottlenecks import make_bottleneck
from keras_xf.models.image_parts import ImageParts
from keras_xf.models.image_parts import halved
from keras_xf.models.seeds import Seeds
from keras_xf.models.vq_vae_parts import one_level_parts
from keras_xf.models.vq_vae_parts import two_level_parts
from keras_xf.models.wide_dtype import wide_dtype_of

# Names of codes, and of the layers that make them.
_ONE_LEVEL = {"code_ids": "codes"}
_TWO_LEVELS = {"top_code_ids": "top_codes", "bottom_code_ids": "bottom_codes"}


def build_vq_vae(
    *,
    image_shape: Sequence[int] = (32, 32, 3),
    num_levels: int = 1,
    num_halvings: int = 2,
    bottleneck: str = "vq_ema",
    num_codes: int = 512,
    code_dim: int = 64,
    codes_per_place: int = 1,
    bottleneck_options: dict | None = None,
    hidden_dim: int = 128,
    residual_dim: int = 32,
    num_residual_blocks: int = 2,
    first_dim: int | None = None,
    middle_convolution: bool = True,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds an autoencoder that writes an image as a grid of codes.

    The encoder halves the image by convolutions of 4x4 and stride 2; residual
    blocks follow, each ReLU, 3x3, ReLU, 1x1. A 1x1 convolution makes the
    vectors that the bottleneck writes as codes; the decoder is the mirror
    image, of transposed convolutions. Odd sizes are rounded up on the way
    down, and cut off on the way up, so that each image gets its own size back.

    With two levels the image is halved once more to a grid of top codes, for
    what is large in the image. The bottom codes are made from the image and the
    decoded top codes, and both are decoded together (Razavi et al., 2019,
    algorithm 1).

    Inside images are shifted to `[-0.5, 0.5]`. The reconstruction is shifted
    back and not clipped, in training or else: a loss would have no gradient
    where it is. Whoever shows it clips it to `[0, 1]`.

    The bottleneck adds its loss by `add_loss`; what is missing is that of the
    reconstruction, such as `losses.NormalizedMeanSquaredError`. The default
    sizes are those of Sonnet's example.

    Args:
        image_shape: Height, width and channels.
        num_levels: Levels of codes, 1 or 2.
        num_halvings: Convolutions of stride 2 before the codes, the bottom ones
            if there are two levels.
        bottleneck: "vq_ema", "vq", "dvq", "gumbel_softmax" or
            "semantic_hashing". Each level has one of its own.
        num_codes: How many codes a vector is written as one of; of "dvq" all
            combinations of the codes of its parts, of "semantic_hashing" all
            patterns of its bits, 2**30 at most. The default is the paper's.
        code_dim: Width of the codes.
        codes_per_place: Codes side by side for each place of the encoder's
            result, all of one codebook. The grid is wider by as much. The
            paper has 10 for CIFAR-10.
        bottleneck_options: Other arguments of the bottleneck's layer, by its
            own names, in what JSON can hold: `{"decay": 0.99, "restart":
            {"fraction": 0.03}}`, `{"num_parts": 2, "projected": True}`.
        hidden_dim: Width of the residual stream.
        residual_dim: Width inside of residual blocks.
        num_residual_blocks: Blocks of the encoder, and of the decoder.
        first_dim: Width of the convolutions next to the image; half of
            `hidden_dim` if None.
        middle_convolution: Whether a 3x3 convolution is between those of stride
            2 and the residual blocks, in the encoder and in the decoder. The
            paper has none, all later code has.
        seed: Seed of all weights and of the bottleneck's draws; random if None.
        dtype: Dtype or dtype policy of all layers; Keras's global one if None.
            The reconstruction is float32 at least.

    Returns:
        A model from `images`, float `(batch, height, width, channels)` in `[0,
        1]`, to a dict of `reconstruction` of the same shape.

    Raises:
        ValueError: If arguments are out of range or do not go together.

    Reference:
        [van den Oord et al., 2017](https://arxiv.org/abs/1711.00937)
        [Razavi et al., 2019](https://arxiv.org/abs/1906.00446)
    """
    shape = tuple(as_integer("image_shape", size) for size in image_shape)
    check(
        len(shape) == 3,
        "`image_shape` must be height, width and channels.",
        image_shape=shape,
    )
    check(
        num_levels in (1, 2),
        "`num_levels` must be 1 or 2.",
        num_levels=num_levels,
    )
    for name, value, least in (
        ("num_halvings", num_halvings, 1),
        ("code_dim", code_dim, 1),
        ("codes_per_place", codes_per_place, 1),
        ("hidden_dim", hidden_dim, 1),
        ("residual_dim", residual_dim, 1),
        ("num_residual_blocks", num_residual_blocks, 0),
    ):
        as_integer(name, value, least)
    check(
        codes_per_place == 1 or num_levels == 1,
        "`codes_per_place` must be 1 with two levels.",
        codes_per_place=codes_per_place,
    )
    if first_dim is None:
        first_dim = max(1, hidden_dim // 2)
    seeds = Seeds(seed)
    parts = ImageParts(
        hidden_dim=hidden_dim,
        residual_dim=residual_dim,
        num_residual_blocks=num_residual_blocks,
        first_dim=as_integer("first_dim", first_dim),
        middle_convolution=middle_convolution,
        # Sonnet's has one; the paper and VQ-VAE-2 begin with that of a block.
        activate_stem=num_levels == 1,
        seeds=seeds,
        dtype=dtype,
    )

    def make(name):
        return make_bottleneck(
            bottleneck,
            num_codes,
            code_dim,
            bottleneck_options,
            name=name,
            # Semantic hashing has two tables.
            seed=seeds.next(draws=2),
            dtype=dtype,
        )

    sizes = halved(shape[:2], num_halvings)
    if num_levels == 1:
        layers = [
            make("codes"),
            *one_level_parts(parts, shape, sizes, code_dim, codes_per_place),
        ]
    else:
        layers = [
            make("top_codes"),
            make("bottom_codes"),
            *two_level_parts(parts, shape, sizes, code_dim),
        ]
    images = keras.Input(shape, dtype=wide_dtype_of(dtype), name="images")
    layers = {layer.name: layer for layer in layers}
    reconstruction = _apply(layers, images)
    return keras.Model(
        {"images": images}, {"reconstruction": reconstruction}, name="vq_vae"
    )


def vq_vae_encoder(model: keras.Model) -> keras.Model:
    """Assembles the half that writes images as codes.

    It works with the very layers of the model, and so follows when that is
    trained. Nothing in it draws or assigns anything.

    Args:
        model: A model of `build_vq_vae`, new or loaded from a file.

    Returns:
        A model from `images` to a dict of `code_ids`, int32 `(batch, height,
        width)`; with two levels of `top_code_ids` and `bottom_code_ids`. Codes
        of parts and bits are packed into one number, the first counting the
        least.

    Raises:
        ValueError: If the model is another builder's.
    """
    layers, names = _layers_of(model)
    images = keras.Input(
        model.inputs[0].shape[1:], dtype=model.inputs[0].dtype, name="images"
    )
    code_ids = {}

    def quantize(vectors, name):
        # Not by the layer itself, which would learn if the model is called
        # with `training=True`.
        encoder = CodeEncoder(
            layers[name], return_vectors=True, name=f"{name}_encoder"
        )
        code_ids[name], vectors = encoder(vectors)
        return vectors

    _write(layers, images, quantize)
    return keras.Model(
        {"images": images},
        {name: code_ids[layer] for name, layer in names.items()},
        name="vq_vae_encoder",
    )


def vq_vae_decoder(model: keras.Model) -> keras.Model:
    """Assembles the half that reads codes as images.

    It works with the very layers of the model, and so follows when that is
    trained. Of the codes of `vq_vae_encoder` it makes exactly what the model
    makes of the images in inference.

    Args:
        model: A model of `build_vq_vae`, new or loaded from a file.

    Returns:
        A model from a dict of codes, as `vq_vae_encoder` returns it, to a dict
        of `reconstruction`.

    Raises:
        ValueError: If the model is another builder's.
    """
    layers, names = _layers_of(model)
    shapes = code_shapes(model)
    code_ids = {
        name: keras.Input(shapes[name], dtype="int32", name=name)
        for name in names
    }
    vectors = [
        CodeDecoder(layers[layer], name=f"{layer}_decoder")(code_ids[name])
        for name, layer in names.items()
    ]
    return keras.Model(
        code_ids,
        {"reconstruction": layers["decoder"](vectors)},
        name="vq_vae_decoder",
    )


def code_shapes(model: keras.Model) -> dict[str, tuple[int, int]]:
    """Height and width of a model's grids of codes, by name.

    Args:
        model: A model of `build_vq_vae`.

    Raises:
        ValueError: If the model is another builder's.
    """
    layers, names = _layers_of(model)
    vectors = layers["decoder"].inputs
    return {
        name: tuple(tensor.shape[1:3])
        for name, tensor in zip(names, vectors, strict=True)
    }


def num_codes(model: keras.Model) -> dict[str, int]:
    """What the numbers in a model's grids of codes are less than, by name.

    Args:
        model: A model of `build_vq_vae`.

    Raises:
        ValueError: If the model is another builder's.
    """
    layers, names = _layers_of(model)
    return {name: layers[layer].count_codes() for name, layer in names.items()}


def _layers_of(model):
    """The layers by name, and the names of the codes with those of layers."""
    layers = {layer.name: layer for layer in model.layers}
    names = _ONE_LEVEL if "encoder" in layers else _TWO_LEVELS
    check(
        {*names.values(), "decoder"} <= set(layers),
        "`model` must come from `build_vq_vae`.",
        model=model.name,
    )
    return layers, names


def _apply(layers, images):
    """The graph of all layers, from images to the reconstruction."""
    return layers["decoder"](
        _write(layers, images, lambda x, name: layers[name](x))
    )


def _write(layers, images, quantize):
    """The graph from images to the vectors of codes, the top's first."""
    if "encoder" in layers:
        return [quantize(layers["encoder"](images), "codes")]
    features = layers["bottom_encoder"](images)
    top = quantize(layers["top_encoder"](features), "top_codes")
    bottom = layers["bottom_vectors"]([features, top])
    return [top, quantize(bottom, "bottom_codes")]

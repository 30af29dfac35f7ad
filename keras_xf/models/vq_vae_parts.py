"""What is around the bottlenecks of a VQ-VAE."""

from collections.abc import Iterator

import keras

from keras_xf.models.image_parts import ImageParts
from keras_xf.models.image_parts import halved
from keras_xf.models.wide_dtype import wide_dtype_of


def one_level_parts(
    parts: ImageParts,
    shape: tuple[int, int, int],
    sizes: list[tuple[int, int]],
    dim: int,
    codes_per_place: int,
) -> Iterator[keras.Model]:
    """Makes what is around the bottleneck of a model of one level.

    Args:
        parts: Of which it is made.
        shape: Height, width and channels of an image.
        sizes: What `halved` returned for the level.
        dim: Width of the codes.
        codes_per_place: Codes side by side for each place.

    Yields:
        `encoder`, from images to vectors, and `decoder`, from quantized vectors
        to images.
    """
    yield _encoder(parts, shape, len(sizes) - 1, dim, codes_per_place)
    yield _decoder(parts, sizes, dim, codes_per_place, shape[2])


def two_level_parts(
    parts: ImageParts,
    shape: tuple[int, int, int],
    sizes: list[tuple[int, int]],
    dim: int,
) -> Iterator[keras.Model]:
    """Makes what is around the bottlenecks of a model of two levels.

    Args:
        parts: Of which it is made.
        shape: Height, width and channels of an image.
        sizes: What `halved` returned for the bottom level.
        dim: Width of the codes.

    Yields:
        `bottom_encoder`, from images to features; `top_encoder`, from these to
        the vectors of the top; `bottom_vectors`, from features and quantized
        vectors of the top to those of the bottom; `decoder`, from both
        quantized vectors to images.
    """
    bottom, top = halved(sizes[-1], 1)
    images = keras.Input(shape, dtype=wide_dtype_of(parts.dtype), name="images")
    x = _shifted(images, parts.dtype)
    x = parts.named("bottom_encoder").encode(x, len(sizes) - 1)
    yield keras.Model(images, x, name="bottom_encoder")

    part = parts.named("top_encoder")
    features = keras.Input(
        x.shape[1:], dtype=wide_dtype_of(parts.dtype), name="features"
    )
    x = part.convolve(part.encode(features, 1), dim, "vectors", size=1)
    yield keras.Model(features, x, name="top_encoder")

    part = parts.named("bottom_vectors")
    features = keras.Input(
        features.shape[1:], dtype=wide_dtype_of(parts.dtype), name="features"
    )
    vectors = keras.Input(
        (*top, dim), dtype=wide_dtype_of(parts.dtype), name="top_vectors"
    )
    x = part.decode(vectors, [bottom, top], dim)
    x = keras.layers.Concatenate(dtype=part.dtype)([x, features])
    x = part.convolve(x, dim, "vectors", size=1)
    yield keras.Model([features, vectors], x, name="bottom_vectors")

    part = parts.named("decoder")
    vectors = [
        keras.Input(
            (*top, dim), dtype=wide_dtype_of(parts.dtype), name="top_vectors"
        ),
        keras.Input(
            (*bottom, dim),
            dtype=wide_dtype_of(parts.dtype),
            name="bottom_vectors",
        ),
    ]
    x = part.double(vectors[0], dim, "doubling_top", bottom)
    x = keras.layers.Concatenate(dtype=part.dtype)([x, vectors[1]])
    x = _as_images(part.decode(x, sizes, shape[2]), part.dtype)
    yield keras.Model(vectors, x, name="decoder")


def _encoder(parts, shape, num_halvings, dim, codes_per_place):
    parts = parts.named("encoder")
    images = keras.Input(shape, dtype=wide_dtype_of(parts.dtype), name="images")
    x = parts.encode(_shifted(images, parts.dtype), num_halvings)
    x = parts.convolve(x, dim * codes_per_place, "vectors", size=1)
    if codes_per_place > 1:
        height, width = x.shape[1:3]
        x = keras.layers.Reshape(
            (height, width * codes_per_place, dim), dtype=parts.dtype
        )(x)
    return keras.Model(images, x, name="encoder")


def _decoder(parts, sizes, dim, codes_per_place, channels):
    parts = parts.named("decoder")
    height, width = sizes[-1]
    shape = (height, width * codes_per_place, dim)
    vectors = x = keras.Input(
        shape, dtype=wide_dtype_of(parts.dtype), name="vectors"
    )
    if codes_per_place > 1:
        x = keras.layers.Reshape(
            (height, width, codes_per_place * dim), dtype=parts.dtype
        )(x)
    x = _as_images(parts.decode(x, sizes, channels), parts.dtype)
    return keras.Model([vectors], x, name="decoder")


def _shifted(images, dtype):
    return keras.layers.Rescaling(1.0, -0.5, dtype=dtype, name="shift")(images)


def _as_images(x, dtype):
    dtype = wide_dtype_of(dtype)
    return keras.layers.Rescaling(1.0, 0.5, dtype=dtype, name="shift_back")(x)

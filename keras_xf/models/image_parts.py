"""Convolutions that make images small, and large again."""

import dataclasses

import keras

from keras_xf.layers.convolutions import Convolution
from keras_xf.layers.convolutions import TransposedConvolution
from keras_xf.models.seeds import Seeds


def halved(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Sizes of an image that convolutions of stride 2 pass through.

    Args:
        size: Height and width.
        times: How many there are.

    Returns:
        `times + 1` of them, from the image's own on; odd ones are rounded up.
    """
    sizes = [size]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


@dataclasses.dataclass(frozen=True)
class ImageParts:
    """Makes encoders and decoders of images, whose seeds come from one.

    Attributes:
        hidden_dim: Width of the residual stream.
        residual_dim: Width inside of residual blocks.
        num_residual_blocks: Blocks of an encoder, and of a decoder.
        first_dim: Width of the convolution next to the image, where there is
            another before the residual blocks.
        middle_convolution: Whether a 3x3 convolution is between those of stride
            2 and the residual blocks.
        activate_stem: Whether it ends in an activation.
        seeds: Where seeds come from.
        dtype: Dtype or dtype policy of all layers.
        prefix: What all names begin with, so that no two variables of a model
            have one path.
    """

    hidden_dim: int
    residual_dim: int
    num_residual_blocks: int
    first_dim: int
    middle_convolution: bool
    activate_stem: bool
    seeds: Seeds
    dtype: object
    prefix: str = ""

    def named(self, prefix: str) -> "ImageParts":
        """The same, whose layers' names begin with this and a line."""
        return dataclasses.replace(self, prefix=f"{prefix}_")

    def encode(self, x, times: int):
        """Halves an image some times; residual blocks follow.

        Args:
            x: Symbolic tensor `(batch, height, width, channels)`.
            times: Number of convolutions of stride 2.

        Returns:
            Symbolic tensor of `hidden_dim` channels.
        """
        widths = self._widths(times)
        for index, width in enumerate(widths):
            is_last = index == len(widths) - 1 and not self.middle_convolution
            x = self.convolve(
                x,
                width,
                f"halving_{index}",
                size=4,
                strides=2,
                activation=None if is_last else "relu",
            )
        if self.middle_convolution:
            activation = "relu" if self.activate_stem else None
            x = self.convolve(
                x, self.hidden_dim, "middle", size=3, activation=activation
            )
        return self._residual_blocks(x)

    def decode(self, x, sizes: list[tuple[int, int]], channels: int):
        """Residual blocks, and what doubles an image until it has its size.

        Args:
            x: Symbolic tensor `(batch, height, width, channels)`.
            sizes: What `halved` returned: it begins with the size of the
                result.
            channels: Channels of the result.

        Returns:
            Symbolic tensor `(batch, *sizes[0], channels)`.
        """
        size = 3 if self.middle_convolution else 1
        x = self.convolve(x, self.hidden_dim, "middle", size=size)
        x = self._residual_blocks(x)
        widths = [channels, *self._widths(len(sizes) - 1)[:-1]]
        for index in reversed(range(len(widths))):
            x = self.double(
                x,
                widths[index],
                f"doubling_{index}",
                sizes[index],
                activation="relu" if index else None,
            )
        return x

    def convolve(self, x, dim, name, *, size, strides=1, activation=None):
        """A convolution that keeps the size, or halves it."""
        return Convolution(
            dim,
            size,
            strides=strides,
            padding="same",
            activation=activation,
            kernel_initializer=self._kernel(),
            dtype=self.dtype,
            name=self.prefix + name,
        )(x)

    def double(self, x, dim, name, size, activation=None):
        """A transposed convolution to a size that halved is that of `x`."""
        x = TransposedConvolution(
            dim,
            4,
            strides=2,
            padding="same",
            activation=activation,
            kernel_initializer=self._kernel(),
            dtype=self.dtype,
            name=self.prefix + name,
        )(x)
        # Of an odd size a row or column is one too many. The convolution of
        # stride 2 saw padding there.
        rows, columns = x.shape[1] - size[0], x.shape[2] - size[1]
        if not rows and not columns:
            return x
        return keras.layers.Cropping2D(
            ((0, rows), (0, columns)),
            dtype=self.dtype,
            name=f"{self.prefix}{name}_crop",
        )(x)

    def _widths(self, times):
        """Widths of convolutions of stride 2, from the image on."""
        widths = [self.first_dim] + [self.hidden_dim] * (times - 1)
        if not self.middle_convolution:
            # They are what the residual blocks are given.
            widths[-1] = self.hidden_dim
        return widths

    def _residual_blocks(self, x):
        for index in range(self.num_residual_blocks):
            residual = self._relu(x, f"block_{index}_relu")
            residual = self.convolve(
                residual,
                self.residual_dim,
                f"block_{index}_inner",
                size=3,
                activation="relu",
            )
            residual = self.convolve(
                residual, self.hidden_dim, f"block_{index}_outer", size=1
            )
            x = keras.layers.Add(
                dtype=self.dtype, name=f"{self.prefix}block_{index}"
            )([x, residual])
        return self._relu(x, "relu")

    def _relu(self, x, name):
        return keras.layers.Activation(
            "relu", dtype=self.dtype, name=self.prefix + name
        )(x)

    def _kernel(self):
        return keras.initializers.GlorotUniform(seed=self.seeds.next())

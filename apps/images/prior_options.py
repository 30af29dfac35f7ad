"""Options that say which prior is built over codes."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from apps.training.activations import check_activation
from apps.training.owned_options import check_left_out
from keras_xf.launch import option

_BUILDERS = {
    "transformer": "build_code_transformer",
    "pixel_cnn": "build_pixel_cnn",
}
# What both have, and what one of them alone has.
_BOTH = ("num_layers", "hidden_dim", "dropout", "seed")
_OWN = {
    "transformer": (
        *("num_heads", "intermediate_dim", "activation", "positions"),
    ),
    "pixel_cnn": (
        *("output_dim", "kernel_size", "first_kernel_size"),
        "num_condition_blocks",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorOptions:
    """Options of the model."""

    # Model.
    prior: Literal["transformer", "pixel_cnn"] = option(
        "A causal Transformer over the codes in raster order, or a gated "
        "PixelCNN.",
        "transformer",
    )
    class_conditional: bool = option(
        "Learn each class apart, so that it can be asked for.", False
    )
    num_layers: int = option("Blocks, of a PixelCNN for each level.", 6)
    hidden_dim: int = option("Width of the stream, or of the stacks.", 128)
    dropout: float = option("Fraction dropped in training.", 0.1)
    num_heads: int = option("Transformer: attention heads.", 4)
    intermediate_dim: int = option(
        "Transformer: width inside the feed-forward.", 512
    )
    activation: str = option(
        "Transformer: activation inside the feed-forward.", "gelu"
    )
    positions: Literal["learned", "sinusoidal", "rotary"] = option(
        "Transformer: how it knows places.", "learned"
    )
    output_dim: int = option("Pixel_cnn: width before the logits.", 256)
    kernel_size: int = option("Pixel_cnn: odd size of the kernels.", 3)
    first_kernel_size: int = option("Pixel_cnn: that of the first ones.", 7)
    num_condition_blocks: int = option(
        "Pixel_cnn: blocks between the top codes and the bottom.", 3
    )

    def __post_init__(self):
        for kind, names in _OWN.items():
            if kind != self.prior:
                check_left_out(self, names, self.prior)
        check_activation(self.activation)

    def describe(
        self,
        code_shapes: Mapping[str, tuple[int, int]],
        num_codes: Mapping[str, int],
        num_classes: int | None,
    ) -> dict:
        """Returns the builder's name and arguments.

        Args:
            code_shapes: Height and width of the codes by name.
            num_codes: How many codes there are, by name.
            num_classes: Number of classes, None without any.

        Raises:
            ValueError: If there is an option of two levels, and one level.
        """
        if len(code_shapes) == 1:
            check_left_out(self, ["num_condition_blocks"], "prior of one level")
        arguments = {
            name: getattr(self, name) for name in (*_BOTH, *_OWN[self.prior])
        }
        arguments["code_shapes"] = {
            name: list(shape) for name, shape in code_shapes.items()
        }
        arguments["num_codes"] = dict(num_codes)
        arguments["num_classes"] = num_classes
        return {"builder": _BUILDERS[self.prior], "arguments": arguments}

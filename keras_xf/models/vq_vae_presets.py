"""Sizes of published VQ-VAEs."""

import copy

from keras_xf.checks import check

_PRESETS = {
    # Section 4.1 and 4.2 of the paper. It names neither the codes' width nor
    # a convolution of stride 1.
    "cifar10": {
        "image_shape": [32, 32, 3],
        "num_codes": 512,
        "codes_per_place": 10,
        "hidden_dim": 256,
        "residual_dim": 256,
        "first_dim": 256,
        "middle_convolution": False,
    },
    "sonnet": {
        "image_shape": [32, 32, 3],
        "num_codes": 512,
        "code_dim": 64,
        "hidden_dim": 128,
        "residual_dim": 32,
        "num_residual_blocks": 2,
        "bottleneck_options": {"decay": 0.99, "ema_init": "zero_debias"},
    },
    "vq_vae_2": {
        "image_shape": [256, 256, 3],
        "num_levels": 2,
        "num_codes": 512,
        "code_dim": 64,
        "hidden_dim": 128,
        "residual_dim": 32,
        "num_residual_blocks": 2,
        "bottleneck_options": {"decay": 0.99},
    },
}


def vq_vae_preset(name: str) -> dict:
    """The sizes of a published model.

    Args:
        name: "cifar10" is that of the paper's experiment with CIFAR-10, with
            ten codes a place; "sonnet" that of the example of DeepMind's
            Sonnet, with the averages of its codebook; "vq_vae_2" that of two
            levels in rosinality's vq-vae-2-pytorch, for images of 256 x 256.

    Returns:
        Arguments of `build_vq_vae`, all of which may be changed.

    Raises:
        ValueError: If there is no such model.

    Reference:
        [van den Oord et al., 2017](https://arxiv.org/abs/1711.00937)
        [Razavi et al., 2019](https://arxiv.org/abs/1906.00446)
    """
    check(
        name in _PRESETS, f"`name` must be one of {tuple(_PRESETS)}.", name=name
    )
    return copy.deepcopy(_PRESETS[name])

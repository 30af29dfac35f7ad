"""Sizes of the published Transformer-XL models (Dai et al., 2019)."""

import copy

from keras_xf.checks import check

# Sizes, dropout and lengths as in the authors' scripts of the base and the
# large model of each data set. Words of WikiText-103 number 267,735; enwik8 has
# 204 different bytes.
_WT103 = {
    "vocabulary_size": 267_735,
    "cutoffs": [20_000, 40_000, 200_000],
    "untied_biases": True,
}
_WT103_LARGE = _WT103 | {
    "num_layers": 18,
    "hidden_dim": 1024,
    "num_heads": 16,
    "intermediate_dim": 4096,
    "dropout": 0.2,
    "attention_dropout": 0.2,
    "divisor": 4,
    # The first bin's projection is the softmax's own.
    "tied_projections": [False, True, True, True],
    "initializer_stddev": 0.005,
    "memory_length": 384,
}
_PRESETS = {
    "enwik8_12": {
        "model": {
            "vocabulary_size": 204,
            "num_layers": 12,
            "hidden_dim": 512,
            "num_heads": 8,
            "intermediate_dim": 2048,
            "dropout": 0.1,
            "attention_dropout": 0.0,
            "memory_length": 512,
        },
        "segment_length": 512,
        "evaluation": (80, 2100, 820),
    },
    "enwik8_24": {
        "model": {
            "vocabulary_size": 204,
            "num_layers": 24,
            "hidden_dim": 1024,
            "num_heads": 8,
            "intermediate_dim": 3072,
            "dropout": 0.15,
            "attention_dropout": 0.15,
            "memory_length": 768,
        },
        "segment_length": 768,
        "evaluation": (128, 3800, 1000),
    },
    "wt103_standard": {
        "model": _WT103
        | {
            "num_layers": 16,
            "hidden_dim": 410,
            "num_heads": 10,
            "intermediate_dim": 2100,
            "dropout": 0.1,
            "attention_dropout": 0.0,
            "untied_biases": False,
            "memory_length": 150,
        },
        "segment_length": 150,
        "evaluation": (64, 640, 400),
    },
    "wt103_large": {
        "model": _WT103_LARGE,
        "segment_length": 384,
        "evaluation": (128, 1600, 1000),
    },
}


def transformer_xl_preset(name: str) -> dict:
    """The sizes and lengths of a published model.

    Args:
        name: "enwik8_12", "enwik8_24", "wt103_standard" or "wt103_large".

    Returns:
        A dict of

        - `model`, the arguments of `build_transformer_xl`;
        - `segment_length`, that of training, which has a memory of the same;
        - `evaluation`, a dict of `segment_length`, and of `memory_length`,
          `clamp_length` and `attention_window`, which
          `transformer_xl_variant` takes.

    Raises:
        ValueError: If there is no such preset.

    Example:

    >>> preset = keras_xf.models.transformer_xl_preset("enwik8_12")
    >>> model = keras_xf.models.build_transformer_xl(**preset["model"])

    Reference:
        [Dai et al., 2019](https://arxiv.org/abs/1901.02860), section 4.1, and
        the scripts of the authors' code
    """
    check(
        name in _PRESETS,
        f"`name` must be one of {sorted(_PRESETS)}.",
        name=name,
    )
    preset = copy.deepcopy(_PRESETS[name])
    segment_length, memory_length, clamp_length = preset["evaluation"]
    preset["evaluation"] = {
        "segment_length": segment_length,
        "memory_length": memory_length,
        "clamp_length": clamp_length,
        # The authors' `same_length`: a window of the memory's length.
        "attention_window": memory_length,
    }
    return preset

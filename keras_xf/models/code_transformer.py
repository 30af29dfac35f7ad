"""Causal Transformer over codes of images."""

from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_xf.layers import RasterSequence
from keras_xf.models.code_levels import class_input
from keras_xf.models.code_levels import code_levels
from keras_xf.models.transformer import build_language_model
from keras_xf.models.wide_dtype import wide_dtype_of


def build_code_transformer(
    *,
    code_shapes: Mapping[str, Sequence[int]],
    num_codes: Mapping[str, int],
    num_classes: int | None = None,
    num_layers: int = 6,
    hidden_dim: int = 512,
    num_heads: int = 8,
    intermediate_dim: int = 2048,
    activation: str = "relu",
    dropout: float = 0.1,
    positions: str = "learned",
    norm_first: bool = True,
    tied: bool = True,
    seed: int | None = None,
    dtype: str | None = None,
) -> keras.Model:
    """Builds a language model of codes, one after another in raster order.

    It reads the class, or a token that begins every image, the codes of the
    top and those of the bottom. The language model is that of
    `build_language_model`, with one vocabulary for all, in which each level has
    ids of its own; the default sizes are those of the Transformer's base model.

    Args:
        code_shapes: Height and width of the codes by their names: of
            `code_ids`, or of `top_code_ids` and `bottom_code_ids`.
        num_codes: Number of codes by the same names.
        num_classes: Number of classes; None for a model of all images alike.
        num_layers: Number of blocks, each self-attention and feed-forward.
        hidden_dim: Width of the residual stream.
        num_heads: Attention heads; they divide `hidden_dim` among them.
        intermediate_dim: Width inside the feed-forward networks.
        activation: Activation inside the feed-forward networks.
        dropout: Fraction dropped in training of embeddings, of attention
            weights and of each sublayer's output.
        positions: "learned", "sinusoidal" or "rotary". Learned ones can tell
            what is above a code, and are the default.
        norm_first: Whether to normalize before each sublayer and once at the
            end, or after each sublayer.
        tied: Whether embeddings and logits share one table.
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
    """
    levels = code_levels(code_shapes, num_codes)
    sequence = RasterSequence(
        [level.shape for level in levels],
        [level.num_codes for level in levels],
        num_classes,
        # Under another, logits would be rounded on their way in.
        dtype=wide_dtype_of(dtype),
        name="raster_sequence",
    )
    language_model = build_language_model(
        vocabulary_size=sequence.vocabulary_size,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        num_heads=num_heads,
        intermediate_dim=intermediate_dim,
        activation=activation,
        dropout=dropout,
        positions=positions,
        max_length=sequence.length if positions == "learned" else None,
        norm_first=norm_first,
        tied=tied,
        seed=seed,
        dtype=dtype,
    )
    codes = {level.ids: level.input() for level in levels}
    class_ids = class_input(num_classes)
    token_ids, length = sequence(list(codes.values()), **class_ids)
    logits = language_model({"token_ids": token_ids, "length": length})
    images = sequence(logits["logits"], reverse=True)
    return keras.Model(
        codes | class_ids,
        {
            level.logits: image
            for level, image in zip(levels, images, strict=True)
        },
        name="code_transformer",
    )

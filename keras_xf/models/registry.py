"""Builders by name: what `model.json` in a run directory speaks of."""

import keras

from keras_xf.checks import check
from keras_xf.models.code_transformer import build_code_transformer
from keras_xf.models.pixel_cnn import build_pixel_cnn
from keras_xf.models.reformer import build_reformer_encoder
from keras_xf.models.reformer import build_reformer_language_model
from keras_xf.models.reformer import build_reformer_language_model_step
from keras_xf.models.step_model import StepModel
from keras_xf.models.transformer import build_language_model
from keras_xf.models.transformer import build_language_model_step
from keras_xf.models.transformer import build_sequence_to_sequence
from keras_xf.models.transformer import build_sequence_to_sequence_step
from keras_xf.models.transformer_xl import build_transformer_xl
from keras_xf.models.transformer_xl import build_transformer_xl_step
from keras_xf.models.vq_vae import build_vq_vae
from keras_xf.models.weighted_transformer import build_weighted_transformer
from keras_xf.models.weighted_transformer import build_weighted_transformer_step
from keras_xf.models.weighted_transformer import fold_branches

BUILDERS = {
    "build_code_transformer": build_code_transformer,
    "build_language_model": build_language_model,
    "build_pixel_cnn": build_pixel_cnn,
    "build_reformer_encoder": build_reformer_encoder,
    "build_reformer_language_model": build_reformer_language_model,
    "build_sequence_to_sequence": build_sequence_to_sequence,
    "build_transformer_xl": build_transformer_xl,
    "build_vq_vae": build_vq_vae,
    "build_weighted_transformer": build_weighted_transformer,
}
STEP_BUILDERS = {
    "build_language_model": build_language_model_step,
    "build_reformer_language_model": build_reformer_language_model_step,
    "build_sequence_to_sequence": build_sequence_to_sequence_step,
    "build_transformer_xl": build_transformer_xl_step,
    "build_weighted_transformer": build_weighted_transformer_step,
}


def build(description: dict) -> keras.Model:
    """Builds a model from its description.

    Args:
        description: A dict of `builder`, a key of `BUILDERS`, and
            `arguments`, a dict.

    Raises:
        ValueError: If there is no such builder, or it refuses the arguments.
    """
    return BUILDERS[_builder(description, BUILDERS)](**description["arguments"])


def build_step(description: dict, model: keras.Model) -> StepModel:
    """Builds the step twin of a model that has this description.

    Args:
        description: As `build` takes it.
        model: The model.

    Raises:
        ValueError: If the builder is unknown or has no step twin.
    """
    return STEP_BUILDERS[_builder(description, STEP_BUILDERS)](model)


def for_inference(description: dict, model: keras.Model) -> keras.Model:
    """Makes of a model what is best decoded with and served.

    Args:
        description: As `build` takes it.
        model: The model.

    Returns:
        A Weighted Transformer with its branches folded, where they can be;
        others as they are.
    """
    arguments = description["arguments"]
    if (
        description["builder"] == "build_weighted_transformer"
        and arguments.get("ffn_mode") != "shared"
    ):
        return fold_branches(model)
    return model


def _builder(description, builders):
    name = description.get("builder")
    check(
        name in builders,
        f"`builder` must be one of {sorted(builders)}.",
        builder=name,
    )
    return name

"""Builders: functions that return a functional `keras.Model`."""

from keras_xf.models.code_nll import code_nll
from keras_xf.models.code_sampler import code_sampler
from keras_xf.models.code_transformer import build_code_transformer
from keras_xf.models.fixed_rotations import fix_rotations
from keras_xf.models.pixel_cnn import build_pixel_cnn
from keras_xf.models.reformer import build_reformer_encoder
from keras_xf.models.reformer import build_reformer_language_model
from keras_xf.models.reformer import build_reformer_language_model_step
from keras_xf.models.registry import BUILDERS
from keras_xf.models.registry import build
from keras_xf.models.registry import build_step
from keras_xf.models.registry import for_inference
from keras_xf.models.scored_model import ScoredModel
from keras_xf.models.step_model import SourceStepModel
from keras_xf.models.step_model import StepModel
from keras_xf.models.stream_model import StreamModel
from keras_xf.models.stream_model import with_memory
from keras_xf.models.transformer import build_language_model
from keras_xf.models.transformer import build_language_model_scorer
from keras_xf.models.transformer import build_language_model_step
from keras_xf.models.transformer import build_sequence_to_sequence
from keras_xf.models.transformer import build_sequence_to_sequence_step
from keras_xf.models.transformer_xl import build_transformer_xl
from keras_xf.models.transformer_xl import build_transformer_xl_scorer
from keras_xf.models.transformer_xl import build_transformer_xl_step
from keras_xf.models.transformer_xl import initial_memory
from keras_xf.models.transformer_xl import transformer_xl_variant
from keras_xf.models.transformer_xl_presets import transformer_xl_preset
from keras_xf.models.vq_vae import build_vq_vae
from keras_xf.models.vq_vae import code_shapes
from keras_xf.models.vq_vae import num_codes
from keras_xf.models.vq_vae import vq_vae_decoder
from keras_xf.models.vq_vae import vq_vae_encoder
from keras_xf.models.vq_vae_presets import vq_vae_preset
from keras_xf.models.weighted_transformer import branch_weights
from keras_xf.models.weighted_transformer import build_weighted_transformer
from keras_xf.models.weighted_transformer import build_weighted_transformer_step
from keras_xf.models.weighted_transformer import fold_branches
from keras_xf.models.weighted_transformer import set_branch_weights
from keras_xf.models.weighted_transformer import weighted_transformer_preset

__all__ = [
    "BUILDERS",
    "ScoredModel",
    "SourceStepModel",
    "StepModel",
    "StreamModel",
    "branch_weights",
    "build",
    "build_code_transformer",
    "build_language_model",
    "build_language_model_scorer",
    "build_language_model_step",
    "build_pixel_cnn",
    "build_reformer_encoder",
    "build_reformer_language_model",
    "build_reformer_language_model_step",
    "build_sequence_to_sequence",
    "build_sequence_to_sequence_step",
    "build_step",
    "build_transformer_xl",
    "build_transformer_xl_scorer",
    "build_transformer_xl_step",
    "build_vq_vae",
    "build_weighted_transformer",
    "build_weighted_transformer_step",
    "code_nll",
    "code_sampler",
    "code_shapes",
    "fix_rotations",
    "fold_branches",
    "for_inference",
    "initial_memory",
    "num_codes",
    "set_branch_weights",
    "transformer_xl_preset",
    "transformer_xl_variant",
    "vq_vae_decoder",
    "vq_vae_encoder",
    "vq_vae_preset",
    "weighted_transformer_preset",
    "with_memory",
]

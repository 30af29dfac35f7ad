"""Builders: functions that return a functional `keras.Model`."""

from keras_xf.models.fixed_rotations import fix_rotations
from keras_xf.models.reformer import build_reformer_encoder
from keras_xf.models.reformer import build_reformer_language_model
from keras_xf.models.reformer import build_reformer_language_model_step
from keras_xf.models.registry import BUILDERS
from keras_xf.models.registry import build
from keras_xf.models.registry import build_step
from keras_xf.models.step_model import StepModel
from keras_xf.models.transformer import build_language_model
from keras_xf.models.transformer import build_language_model_step

__all__ = [
    "BUILDERS",
    "StepModel",
    "build",
    "build_language_model",
    "build_language_model_step",
    "build_reformer_encoder",
    "build_reformer_language_model",
    "build_reformer_language_model_step",
    "build_step",
    "fix_rotations",
]

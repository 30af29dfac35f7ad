"""Models to served directories: signatures, checks, atomic publishing."""

from keras_xf.serving.bundle import Bundle
from keras_xf.serving.classifier import classifier_bundles
from keras_xf.serving.image_bundles import image_bundles
from keras_xf.serving.language_model import language_model_bundles
from keras_xf.serving.live_comparison import compare_with_live
from keras_xf.serving.publish import publish
from keras_xf.serving.transformer_xl import transformer_xl_bundles
from keras_xf.serving.translation import translation_bundles

__all__ = [
    "Bundle",
    "classifier_bundles",
    "compare_with_live",
    "image_bundles",
    "language_model_bundles",
    "publish",
    "transformer_xl_bundles",
    "translation_bundles",
]

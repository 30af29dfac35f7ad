"""Models to served directories: signatures, checks, atomic publishing."""

from keras_xf.serving.bundle import Bundle
from keras_xf.serving.contract import contract_violations
from keras_xf.serving.contract import signature_table
from keras_xf.serving.language_model import language_model_bundles
from keras_xf.serving.publish import publish
from keras_xf.serving.verification import verify

__all__ = [
    "Bundle",
    "contract_violations",
    "language_model_bundles",
    "publish",
    "signature_table",
    "verify",
]

"""Public checkpoints of other libraries, made into models of this one."""

from keras_xf.convert.reformer import reformer_from_huggingface
from keras_xf.convert.transformer_xl import transformer_xl_from_huggingface
from keras_xf.convert.transformer_xl_tensorflow import (
    transformer_xl_from_tensorflow,
)

__all__ = [
    "reformer_from_huggingface",
    "transformer_xl_from_huggingface",
    "transformer_xl_from_tensorflow",
]

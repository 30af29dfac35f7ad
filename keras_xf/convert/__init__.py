"""Public checkpoints of other libraries, made into models of this one."""

from keras_xf.convert.reformer import reformer_from_huggingface

__all__ = ["reformer_from_huggingface"]

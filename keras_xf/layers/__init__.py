"""Layers: stateful wrappers of `keras_xf.ops`."""

from keras_xf.layers.feed_forward import FeedForward
from keras_xf.layers.learned_positions import LearnedPositions
from keras_xf.layers.padding_mask import PaddingMask
from keras_xf.layers.residual import Residual
from keras_xf.layers.self_attention import SelfAttention
from keras_xf.layers.sinusoidal_positions import SinusoidalPositions
from keras_xf.layers.token_embedding import TokenEmbedding

__all__ = [
    "FeedForward",
    "LearnedPositions",
    "PaddingMask",
    "Residual",
    "SelfAttention",
    "SinusoidalPositions",
    "TokenEmbedding",
]

"""Layers: stateful wrappers of `keras_xf.ops`."""

from keras_xf.layers.adaptive_embedding import AdaptiveEmbedding
from keras_xf.layers.adaptive_softmax import AdaptiveSoftmax
from keras_xf.layers.axial_position_embedding import AxialPositionEmbedding
from keras_xf.layers.chunked_feed_forward import ChunkedFeedForward
from keras_xf.layers.chunked_self_attention import ChunkedSelfAttention
from keras_xf.layers.code_decoder import CodeDecoder
from keras_xf.layers.code_encoder import CodeEncoder
from keras_xf.layers.cross_attention import CrossAttention
from keras_xf.layers.dropout import Dropout
from keras_xf.layers.dvq import DVQ
from keras_xf.layers.feed_forward import FeedForward
from keras_xf.layers.gated_pixel_convolution import GatedPixelConvolution
from keras_xf.layers.gumbel_softmax import GumbelSoftmax
from keras_xf.layers.learned_positions import LearnedPositions
from keras_xf.layers.lsh_self_attention import LSHSelfAttention
from keras_xf.layers.multi_branch_attention import MultiBranchAttention
from keras_xf.layers.padded_length import PaddedLength
from keras_xf.layers.padding_mask import PaddingMask
from keras_xf.layers.raster_sequence import RasterSequence
from keras_xf.layers.relative_attention import RelativeAttention
from keras_xf.layers.relative_biases import RelativeBiases
from keras_xf.layers.relative_positions import RelativePositions
from keras_xf.layers.residual import Residual
from keras_xf.layers.restart import Restart
from keras_xf.layers.rev_block import RevBlock
from keras_xf.layers.reversible_sequence import ReversibleSequence
from keras_xf.layers.self_attention import SelfAttention
from keras_xf.layers.semantic_hashing import SemanticHashing
from keras_xf.layers.sinusoidal_positions import SinusoidalPositions
from keras_xf.layers.sublayer import Sublayer
from keras_xf.layers.token_embedding import TokenEmbedding
from keras_xf.layers.vq import VQ
from keras_xf.layers.vq_ema import VQEMA
from keras_xf.layers.xl_memory import XLMemory

__all__ = [
    "DVQ",
    "VQ",
    "VQEMA",
    "AdaptiveEmbedding",
    "AdaptiveSoftmax",
    "AxialPositionEmbedding",
    "ChunkedFeedForward",
    "ChunkedSelfAttention",
    "CodeDecoder",
    "CodeEncoder",
    "CrossAttention",
    "Dropout",
    "FeedForward",
    "GatedPixelConvolution",
    "GumbelSoftmax",
    "LSHSelfAttention",
    "LearnedPositions",
    "MultiBranchAttention",
    "PaddedLength",
    "PaddingMask",
    "RasterSequence",
    "RelativeAttention",
    "RelativeBiases",
    "RelativePositions",
    "Residual",
    "Restart",
    "RevBlock",
    "ReversibleSequence",
    "SelfAttention",
    "SemanticHashing",
    "SinusoidalPositions",
    "Sublayer",
    "TokenEmbedding",
    "XLMemory",
]

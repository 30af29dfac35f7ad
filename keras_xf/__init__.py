"""Long-context Transformers and discrete latents on Keras 3 and TensorFlow."""

from keras_xf import layers
from keras_xf import models
from keras_xf import ops
from keras_xf.version import __version__

__all__ = ["__version__", "layers", "models", "ops"]

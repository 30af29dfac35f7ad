"""Autoencoder of images, and a prior over its codes."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.models import code_sampler
from keras_xf.models import code_shapes
from keras_xf.models import num_codes
from keras_xf.models import vq_vae_decoder
from keras_xf.models import vq_vae_encoder
from keras_xf.models.code_levels import count_classes
from keras_xf.models.code_levels import levels_of
from keras_xf.serving import requests


class ServedImages(tf.Module):
    """Writes images as codes, reads codes as images, and draws new ones.

    The functions are to be traced with the signatures of `image_bundles`, which
    says what goes in and comes out.

    Args:
        autoencoder: A model of `build_vq_vae`.
        prior: A model of `build_code_transformer` or `build_pixel_cnn` over its
            codes; None for an autoencoder alone.
    """

    def __init__(
        self, autoencoder: keras.Model, prior: keras.Model | None = None
    ):
        super().__init__(name="served_images")
        self.code_shapes = code_shapes(autoencoder)
        self.num_codes = num_codes(autoencoder)
        self.image_shape = tuple(autoencoder.input["images"].shape[1:])
        self.num_classes = None
        sample = None
        served = [autoencoder]
        if prior is not None:
            self._check_prior(prior)
            served.append(prior)
            sample = code_sampler(prior)
            self.num_classes = count_classes(prior)
        # These alone are saved with the module: with the whole models would go
        # functions that nobody serves.
        self.state = [v.value for model in served for v in model.variables]
        self._parts = _Parts(
            vq_vae_encoder(autoencoder),
            vq_vae_decoder(autoencoder),
            sample,
        )

    def encode_codes(self, images):
        """Writes images as codes."""
        # Convolutions would take any size, and a server lets any pass.
        images = tf.ensure_shape(images, (None, *self.image_shape))
        images = requests.in_unit_interval("images", images)
        return self._parts.encoder({"images": images}, training=False)

    def decode_codes(self, code_ids):
        """Reads codes of one level as images."""
        return {"reconstruction": self._decode({"code_ids": code_ids})}

    def decode_two_levels(self, top_code_ids, bottom_code_ids):
        """Reads codes of two levels as images."""
        codes = {
            "top_code_ids": top_code_ids,
            "bottom_code_ids": bottom_code_ids,
        }
        with requests.same_rows(**codes):
            return {"reconstruction": self._decode(codes)}

    def sample(self, seed, temperature):
        """Draws images."""
        with requests.same_rows(seed=seed, temperature=temperature):
            return self._draw(None, seed, temperature)

    def sample_of_classes(self, class_ids, seed, temperature):
        """Draws images of classes."""
        with requests.same_rows(
            class_ids=class_ids, seed=seed, temperature=temperature
        ):
            class_ids = requests.ids_below(
                "class_ids", class_ids, self.num_classes
            )
            return self._draw(class_ids, seed, temperature)

    def _draw(self, class_ids, seed, temperature):
        codes = self._parts.sample(class_ids, seed, temperature)
        return {"images": self._decode(codes), **codes}

    def _decode(self, codes):
        codes = {
            name: requests.ids_below(
                name,
                tf.ensure_shape(ids, (None, *self.code_shapes[name])),
                self.num_codes[name],
            )
            for name, ids in codes.items()
        }
        images = self._parts.decoder(codes, training=False)["reconstruction"]
        # The model's are where its loss has a gradient, which is everywhere.
        return tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 1.0)

    def _check_prior(self, prior):
        levels = levels_of(prior)
        for name, found, expected in (
            (
                "shapes",
                {level.ids: level.shape for level in levels},
                self.code_shapes,
            ),
            (
                "numbers",
                {level.ids: level.num_codes for level in levels},
                self.num_codes,
            ),
        ):
            check(
                found == expected,
                f"`prior` must be of codes of the {name} that the autoencoder "
                "has.",
                prior=found,
                autoencoder=dict(expected),
            )


# No module, whose models would be saved.
@dataclasses.dataclass(frozen=True)
class _Parts:
    encoder: keras.Model
    decoder: keras.Model
    sample: Callable | None

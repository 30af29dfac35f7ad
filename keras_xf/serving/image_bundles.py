"""The bundle that an autoencoder of images is served as, with its prior."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.serving.bundle import Bundle
from keras_xf.serving.classifier import CLASSES
from keras_xf.serving.make_bundle import make_bundle
from keras_xf.serving.served_images import ServedImages

# What users are to read.
_DESCRIPTIONS = {
    "signatures": {
        "encode_codes": "Writes images as codes.",
        "decode_codes": "Reads codes as images.",
        "sample": "Draws new images.",
    },
    "inputs": {
        "images": "numbers in [0, 1], with the channels last",
        "code_ids": "a code for each place",
        "top_code_ids": "a code for each place of the coarse level",
        "bottom_code_ids": "a code for each place of the fine level",
        "class_ids": "what is to be seen, counted from 0",
        "seed": "the same seed draws the same image",
        "temperature": "divides the logits; 0 takes the most probable code at "
        "each place",
    },
    "outputs": {
        "code_ids": "a code for each place",
        "top_code_ids": "a code for each place of the coarse level",
        "bottom_code_ids": "a code for each place of the fine level",
        "reconstruction": "images, in [0, 1]",
        "images": "the images, in [0, 1]",
    },
}
_CLASS_NAME = "what is to be seen: a line of `assets/classes.txt`, from 0"


def image_bundles(
    autoencoder: keras.Model,
    prior: keras.Model | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Bundle]:
    """Makes the bundle of an autoencoder, alone or with a prior.

    - `encode_codes` gives codes of `images`, float32 `(batch, height, width,
      channels)` in `[0, 1]`: `code_ids` int32 `(batch, height, width)`, or with
      two levels `top_code_ids` and `bottom_code_ids`.
    - `decode_codes`, also as `serving_default`, gives of such codes
      `reconstruction`, float32 like the images.
    - `sample`, if there is a prior, draws `images` and their codes by `seed`
      int32 `(batch, 2)` and `temperature` float32 `(batch,)`; with classes also
      of `class_ids` int32 `(batch,)`.

    Images that come out are clipped to `[0, 1]`, and those that go in must lie
    there. A row's results do not depend on the rows
    beside it. But what must not be served, such as a code that is not in the
    codebook, fails the batch it is in.

    Args:
        autoencoder: A model of `build_vq_vae`.
        prior: A model of `build_code_transformer` or `build_pixel_cnn`, over
            the autoencoder's codes.
        classes: Names of the prior's classes, for those who ask.

    Returns:
        The bundle, by the name "images".

    Raises:
        ValueError: If models are of other builders or do not go together, or
            there is not a name for each class.
    """
    served = ServedImages(autoencoder, prior)
    check(
        classes is None or len(classes) == served.num_classes,
        "`classes` must have a name for each class of the prior.",
        classes=None if classes is None else len(classes),
        prior=served.num_classes,
    )
    codes = {
        name: tf.TensorSpec([None, *shape], tf.int32, name)
        for name, shape in served.code_shapes.items()
    }
    images = tf.TensorSpec([None, *served.image_shape], tf.float32, "images")
    decode = (
        served.decode_codes if len(codes) == 1 else served.decode_two_levels
    )
    functions = {
        "encode_codes": (served.encode_codes, {"images": images}),
        "decode_codes": (decode, codes),
    }
    refused = _refused_codes(served)
    if prior is not None:
        functions["sample"] = _sample(served)
        refused |= _refused_samples(served)
    descriptions = _DESCRIPTIONS
    if classes is not None:
        inputs = {**descriptions["inputs"], "class_ids": _CLASS_NAME}
        descriptions = {**descriptions, "inputs": inputs}
    return {
        "images": make_bundle(
            served,
            functions,
            "decode_codes",
            [_request(served, number) for number in (1, 3)],
            descriptions,
            names={} if classes is None else {CLASSES: list(classes)},
            limits={
                "image_shape": list(served.image_shape),
                # One number, whatever the level.
                "num_codes": max(served.num_codes.values()),
                "num_classes": served.num_classes,
            },
            core_ops_only=True,
            random_signatures=["sample"] if prior is not None else [],
            bad_requests=refused,
        )
    }


def _sample(served):
    """The function and the specs of `sample`."""
    specs = {
        "seed": tf.TensorSpec([None, 2], tf.int32, "seed"),
        "temperature": tf.TensorSpec([None], tf.float32, "temperature"),
    }
    if served.num_classes is None:
        return served.sample, specs
    class_ids = tf.TensorSpec([None], tf.int32, "class_ids")
    return served.sample_of_classes, {"class_ids": class_ids, **specs}


def _request(served, number):
    """A request with what any signature may take."""
    generator = np.random.default_rng(number)
    shape = (number, *served.image_shape)
    # One gray takes no room in files, and is short to write.
    images = np.full(shape, 0.5, np.float32)
    if number > 1:
        # In steps that are exact in any form.
        images = generator.integers(0, 257, shape).astype(np.float32) / 256
    rows = np.arange(number)
    return {
        "images": images,
        **{
            name: generator.integers(
                0, served.num_codes[name], (number, *size), np.int32
            )
            for name, size in served.code_shapes.items()
        },
        "class_ids": (rows % (served.num_classes or 1)).astype(np.int32),
        "seed": np.stack([rows + 1, rows + 2], axis=1).astype(np.int32),
        "temperature": (0.5 + 0.5 * rows).astype(np.float32),
    }


def _refused_codes(served):
    codes = {name: _request(served, 1)[name] for name in served.code_shapes}
    name = next(iter(codes))
    codes[name] = np.full_like(codes[name], served.num_codes[name])
    return {"a code that is not in the codebook": ("decode_codes", codes)}


def _refused_samples(served):
    request = _request(served, 1)
    request = {name: request[name] for name in _sample(served)[1]}
    too_cold = {**request, "temperature": np.array([-1.0], np.float32)}
    refused = {"a temperature below zero": ("sample", too_cold)}
    if served.num_classes is not None:
        unknown = {
            **request,
            "class_ids": np.array([served.num_classes], np.int32),
        }
        refused["a class that is not there"] = ("sample", unknown)
    return refused

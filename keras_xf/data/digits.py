"""The handwritten digits that scikit-learn comes with."""

import importlib.util

import numpy as np

from keras_xf.checks import check
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.data.labeled_images import numbered_names


def read_digits() -> LabeledImages:
    """Reads 1797 digits of 8 by 8 pixels, which need no download.

    They are the test part of the UCI set "Optical Recognition of Handwritten
    Digits", with 17 levels of grey, spread here over 256.

    Returns:
        The images, grey, with the labels "0" to "9" and the names "digits:0"
        to "digits:1796".

    Raises:
        ValueError: If scikit-learn is missing, which the extra `apps`
            installs.

    Reference:
        [Alpaydin & Kaynak, 1998](https://doi.org/10.24432/C50P49)
    """
    check(
        importlib.util.find_spec("sklearn"),
        "The digits need scikit-learn: pip install 'keras_xf[apps]'.",
        sklearn=None,
    )
    # Here, since it takes a while and others do without it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return LabeledImages(
        images[..., np.newaxis],
        labels=[str(label) for label in digits.target],
        names=numbered_names("digits", len(images)),
    )

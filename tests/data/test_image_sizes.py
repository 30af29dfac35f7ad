"""Tests of keras_xf.data.image_sizes."""

import numpy as np
import pytest

from keras_xf.data.image_sizes import fit_square
from tests.data.image_cases import make_images


def test_the_middle_is_cut_out():
    images = make_images(2, height=4, width=9)
    np.testing.assert_array_equal(fit_square(images, 4), images[:, :, 2:6])
    (image,) = make_images(1, height=6, width=3)
    np.testing.assert_array_equal(fit_square(image, 3), image[1:4])


def test_a_long_image_is_cut_before_it_is_scaled():
    image = np.zeros((1, 100_000, 3), np.uint8)
    image[:, 49_999] = 70
    # Scaled as a whole it would have 77 billion bytes.
    np.testing.assert_array_equal(
        fit_square(image, 512), np.full((512, 512, 3), 70)
    )


def test_what_fits_is_left_alone():
    images = make_images(2, height=4, width=4)
    assert fit_square(images, 4) is images


def test_pixels_are_averaged_where_an_image_gets_smaller():
    # Stripes, of which a few pixels that are picked would see one alone.
    image = np.zeros((32, 32, 1), np.uint8)
    image[:, ::2] = 200
    small = fit_square(image, 4)
    assert small.dtype == np.uint8
    np.testing.assert_allclose(small[1:-1, 1:-1].astype(int), 100, atol=2)
    large = fit_square(np.full((2, 3, 3), 90, np.uint8), 8)
    np.testing.assert_array_equal(large, np.full((8, 8, 3), 90))


def test_rejects_a_size_that_is_none():
    with pytest.raises(ValueError) as error:
        fit_square(make_images(1), 0)
    assert str(error.value) == (
        "`image_size` must be positive. Received: image_size=0."
    )

"""Tests of keras_xf.data.image_arrays."""

import numpy as np
import pytest

from keras_xf.data.image_arrays import read_image_arrays
from tests.data.image_cases import make_images

IMAGES = make_images(3)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_bytes_and_floats_with_labels_and_without(tmp_path):
    path = save(tmp_path / "a.npz", images=IMAGES, labels=[10, 9, -1], more=0)
    found = read_image_arrays(path)
    np.testing.assert_array_equal(found.images, IMAGES)
    assert found.labels == ["10", "9", "-1"]
    assert found.names == ["a.npz:0", "a.npz:1", "a.npz:2"]
    floats = np.float32(IMAGES / 255)
    path = save(tmp_path / "b.npz", images=floats, labels=["cat", "a", "é"])
    found = read_image_arrays(path)
    assert found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.images, IMAGES)
    assert found.labels == ["cat", "a", "é"]
    path = save(tmp_path / "c.npz", images=IMAGES[..., 0])
    found = read_image_arrays(path)
    np.testing.assert_array_equal(found.images, IMAGES[..., :1])
    assert found.labels is None


def changed(value):
    images = np.float64(IMAGES / 255)
    images[1, 2, 3, 0] = value
    return images


OBJECTS = np.empty(2, object)
OBJECTS[:] = [IMAGES[0], IMAGES[1, :2]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"pictures": IMAGES},
            "`path` must name .npz files with an array `images`. "
            "Received: path={path!r}.",
        ),
        (
            {"images": IMAGES.astype(np.int32)},
            "`path` must name .npz files whose `images` are uint8 or floats in "
            "[0, 1]. Received: path={path!r}, dtype='int32'.",
        ),
        (
            {"images": changed(1.5)},
            "`path` must name .npz files whose `images` are uint8 or floats in "
            "[0, 1]. Received: path={path!r}, lowest=0.0, highest=1.5.",
        ),
        (
            {"images": changed(np.nan)},
            "`path` must name .npz files whose `images` are uint8 or floats in "
            "[0, 1]. Received: path={path!r}, lowest=nan, highest=nan.",
        ),
        (
            {"images": IMAGES[..., :2]},
            "`path` must name .npz files whose `images` have the shape (count, "
            "height, width) or (count, height, width, channels) with 1 or 3 "
            "channels. Received: path={path!r}, shape=(3, 4, 5, 2).",
        ),
        (
            {"images": IMAGES[:0]},
            "`path` must name .npz files whose `images` have the shape (count, "
            "height, width) or (count, height, width, channels) with 1 or 3 "
            "channels. Received: path={path!r}, shape=(0, 4, 5, 3).",
        ),
        (
            {"images": IMAGES, "labels": [1, 2]},
            "`path` must name .npz files whose `labels` are an integer or a "
            "string for each of the `images`. Received: path={path!r}, "
            "images=(3, 4, 5, 3), labels=(2,), dtype='int64'.",
        ),
        (
            {"images": IMAGES, "labels": [1.0, 2.0, 3.0]},
            "`path` must name .npz files whose `labels` are an integer or a "
            "string for each of the `images`. Received: path={path!r}, "
            "images=(3, 4, 5, 3), labels=(3,), dtype='float64'.",
        ),
        (
            # Of several sizes, which NumPy can only keep as objects.
            {"images": OBJECTS},
            "`path` must name .npz files that can be read. Received: "
            "path={path!r}, error='ValueError: Object arrays cannot be loaded "
            "when allow_pickle=False'.",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, arrays, message):
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError) as error:
        read_image_arrays(path)
    assert str(error.value) == message.format(path=str(path))


def test_what_is_no_such_file_is_named(tmp_path):
    good = save(tmp_path / "good.npz", images=IMAGES).read_bytes()
    np.save(tmp_path / "array.npy", IMAGES)
    array = (tmp_path / "array.npy").read_bytes()
    path = tmp_path / "bad.npz"
    for content in (b"", b"text", good[:-40], array):
        path.write_bytes(content)
        with pytest.raises(ValueError) as error:
            read_image_arrays(path, "train_images")
        assert str(error.value).startswith(
            "`train_images` must name .npz files that can be read. "
            f"Received: path={str(path)!r}, error="
        )

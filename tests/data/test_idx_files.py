"""Tests of keras_xf.data.idx_files."""

import gzip

import numpy as np
import pytest

from keras_xf.data.idx_files import read_idx
from tests.data.image_cases import idx_bytes
from tests.data.image_cases import make_images

IMAGES = make_images(3, channels=1)[..., 0]


def test_images_and_labels_plain_and_zipped(tmp_path):
    (tmp_path / "images").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(idx_bytes([7, 0, 255])))
    found = read_idx(tmp_path / "images", 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IMAGES)
    np.testing.assert_array_equal(
        read_idx(tmp_path / "labels.gz", 1), [7, 0, 255]
    )


@pytest.mark.parametrize(
    ("content", "num_axes", "message"),
    [
        (
            idx_bytes([1, 2]),
            3,
            "`path` must name idx files of images, with the magic number 2051. "
            "Received: path={path!r}, magic=2049.",
        ),
        (
            idx_bytes(IMAGES),
            1,
            "`path` must name idx files of labels, with the magic number 2049. "
            "Received: path={path!r}, magic=2051.",
        ),
        (
            b"\x89P",
            3,
            "`path` must name idx files of images, with the magic number 2051. "
            f"Received: path={{path!r}}, magic={0x89500000}.",
        ),
        (
            idx_bytes(IMAGES)[:-1],
            3,
            "`path` must name idx files that have as many bytes as they say. "
            "Received: path={path!r}, shape=(3, 4, 5), expected_bytes=76, "
            "bytes=75.",
        ),
        (
            idx_bytes(IMAGES)[:14],
            3,
            "`path` must name idx files that have as many bytes as they say. "
            "Received: path={path!r}, shape=(3, 4, 0), expected_bytes=16, "
            "bytes=14.",
        ),
        (
            idx_bytes([1, 2]) + b"\0",
            1,
            "`path` must name idx files that have as many bytes as they say. "
            "Received: path={path!r}, shape=(2,), expected_bytes=10, bytes=11.",
        ),
        (
            b"",
            1,
            "`path` must name files that can be read and are not empty. "
            "Received: path={path!r}, error='empty'.",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, num_axes, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_idx(path, num_axes)
    assert str(error.value) == message.format(path=str(path))


def test_a_zipped_file_that_is_cut_off_is_named(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES))[:-12])
    with pytest.raises(ValueError) as error:
        read_idx(path, 3, "train_images")
    assert str(error.value).startswith(
        "`train_images` must name files that can be read and are not empty. "
        f"Received: path={str(path)!r}, error='Compressed file ended"
    )

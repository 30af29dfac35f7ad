"""Tests of keras_xf.data.image_files."""

import io
import struct
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.data.image_files import ENDINGS
from keras_xf.data.image_files import read_image_files
from tests.data.image_cases import make_images
from tests.data.image_cases import write_image


def write_folder(folder, images):
    names = ["cat/b.png", "cat/a.PNG", "deep/dog/10.png", "deep/dog/9.png"]
    for name, image in zip(names, images, strict=True):
        write_image(folder / name, image)
    (folder / "cat" / "notes.txt").write_text("no image")
    (folder / "cat" / ".hidden.png").write_text("no image")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "c.png").write_text("no image")
    # In the order of their names.
    return images[[1, 0, 2, 3]]


def test_a_folder_is_read_in_order_with_its_subfolders_as_labels(tmp_path):
    expected = write_folder(tmp_path, make_images(4))
    found = read_image_files(tmp_path)
    np.testing.assert_array_equal(found.images, expected)
    assert found.labels == ["cat", "cat", "dog", "dog"]
    assert found.names == [
        *("cat/a.PNG", "cat/b.png", "deep/dog/10.png", "deep/dog/9.png"),
    ]


def test_an_archive_is_read_like_a_folder(tmp_path):
    expected = write_folder(tmp_path / "folder", make_images(4))
    path = tmp_path / "images.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        archive.add(tmp_path / "folder", "train")
        link = tarfile.TarInfo("train/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "cat/b.png"
        archive.addfile(link)
    found = read_image_files(path)
    np.testing.assert_array_equal(found.images, expected)
    assert found.labels == ["cat", "cat", "dog", "dog"]
    assert found.names == [
        *("train/cat/a.PNG", "train/cat/b.png"),
        *("train/deep/dog/10.png", "train/deep/dog/9.png"),
    ]


def test_images_at_the_top_have_no_labels(tmp_path):
    images = make_images(2)
    for place, image in enumerate(images):
        write_image(tmp_path / f"{place}.png", image)
    found = read_image_files(tmp_path)
    np.testing.assert_array_equal(found.images, images)
    assert found.labels is None
    write_image(tmp_path / "cat" / "c.png", images[0])
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path, argument="train_images")
    assert str(error.value) == (
        "`train_images` must name images that are all in subfolders, or none. "
        f"Received: path={str(tmp_path / '0.png')!r}, "
        f"other_path={str(tmp_path / 'cat' / 'c.png')!r}."
    )


def test_kinds_of_files_and_of_pixels(tmp_path):
    (image,) = make_images(1)
    gray = image[..., :1]
    write_image(tmp_path / "gray.png", gray)
    write_image(tmp_path / "gray_alpha.png", image[..., :2])
    found = read_image_files(tmp_path).images
    np.testing.assert_array_equal(found, [gray, gray])

    alpha = np.concatenate([image, gray], axis=-1)
    write_image(tmp_path / "rgb_alpha.png", alpha)
    smooth = np.full_like(image, 77)
    write_image(tmp_path / "smooth.jpg", smooth)
    deep = tf.io.encode_png(image.astype(np.uint16) * 256 + 130)
    (tmp_path / "deep.png").write_bytes(deep.numpy())
    found = read_image_files(tmp_path).images
    # One color makes all have three channels: deep, gray, gray_alpha,
    # rgb_alpha, smooth.
    np.testing.assert_array_equal(
        found[:4], [image, *[gray.repeat(3, -1)] * 2, image]
    )
    np.testing.assert_allclose(found[4].astype(int), smooth, atol=2)


def test_mixed_sizes_are_named_or_made_one(tmp_path):
    write_image(tmp_path / "a.png", make_images(1)[0])
    write_image(tmp_path / "b.png", make_images(1, 6, 4)[0])
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path)
    assert str(error.value) == (
        "`path` must name images of one size, or be given with an "
        f"`image_size`. Received: path={str(tmp_path / 'a.png')!r}, "
        f"size=(4, 5), other_path={str(tmp_path / 'b.png')!r}, "
        "other_size=(6, 4)."
    )
    assert read_image_files(tmp_path, image_size=3).images.shape == (2, 3, 3, 3)


def bmp_bytes(places, table):
    """A BMP of 8 bits, with a table of colors."""
    height, width = places.shape
    start = 54 + 4 * len(table)
    rows = np.pad(places[::-1], ((0, 0), (0, -width % 4))).tobytes()
    return b"".join(
        [
            b"BM",
            struct.pack("<IHHI", start + len(rows), 0, 0, start),
            struct.pack("<IiiHHI", 40, width, height, 1, 8, 0),
            struct.pack("<IiiII", len(rows), 0, 0, len(table), 0),
            np.pad(table, ((0, 0), (0, 1))).astype(np.uint8).tobytes(),
            rows,
        ]
    )


def test_bmps_with_a_table_are_read_if_it_is_of_greys(tmp_path):
    (image,) = make_images(1, channels=1)
    greys = np.arange(256)[:, np.newaxis].repeat(3, axis=1)
    path = tmp_path / "a.bmp"
    path.write_bytes(bmp_bytes(image[..., 0], greys))
    np.testing.assert_array_equal(read_image_files(tmp_path).images, [image])
    path.write_bytes(bmp_bytes(image[..., 0], greys[::-1]))
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path)
    assert str(error.value) == (
        "`path` must name images that can be decoded. "
        f"Received: path={str(path)!r}, error='BMP with a table of colors.'."
    )


# Of one pixel: red, or grey.
@pytest.mark.parametrize(
    ("color", "channels"), [([255, 0, 0], 3), ([70, 70, 70], 1)]
)
def test_a_gif_of_greys_is_grey(tmp_path, color, channels):
    content = (
        b"GIF89a\1\0\1\0\x80\0\0"
        + bytes(color)
        + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    )
    (tmp_path / "a.gif").write_bytes(content)
    found = read_image_files(tmp_path).images
    np.testing.assert_array_equal(found, [[[color[:channels]]]])


def test_a_file_that_cannot_be_read_is_as_one_that_is_corrupt(tmp_path):
    images = make_images(1)
    write_image(tmp_path / "a.png", images[0])
    (tmp_path / "b.png").symlink_to("none.png")
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path)
    assert str(error.value) == (
        "`path` must name images that can be decoded. "
        f"Received: path={str(tmp_path / 'b.png')!r}, "
        "error='No such file or directory'."
    )
    told = []
    found = read_image_files(
        tmp_path, on_corrupt=lambda *both: told.append(both)
    )
    np.testing.assert_array_equal(found.images, images)
    assert told == [(str(tmp_path / "b.png"), "No such file or directory")]
    assert found.names == ["a.png"]


def test_hard_links_of_archives_are_files(tmp_path):
    (image,) = make_images(1)
    write_image(tmp_path / "a.png", image)
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a.png", "b.png"):
            archive.add(tmp_path / name, name)
        assert archive.getmember("b.png").islnk()
    np.testing.assert_array_equal(read_image_files(path).images, [image] * 2)


def test_links_to_folders_are_followed_unless_they_have_no_end(tmp_path):
    images = make_images(2)
    write_image(tmp_path / "cat" / "a.png", images[0])
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    write_image(tmp_path.parent / "elsewhere" / "b.png", images[1])
    (tmp_path / "dog").symlink_to(tmp_path.parent / "elsewhere")
    found = read_image_files(tmp_path)
    np.testing.assert_array_equal(found.images, images)
    assert found.labels == ["cat", "dog"]


def damage(content):
    middle = len(content) // 2
    return content[:middle] + b"\0\0\0\0" + content[middle + 4 :]


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("bad.png", damage, "Invalid PNG data, size "),
        ("bad.png", lambda content: content[:-20], "Invalid PNG data, size "),
        ("bad.jpg", lambda content: content[:90], "jpeg::Uncompress failed."),
        ("bad.png", lambda content: b"", "Input is empty."),
        ("bad.gif", lambda content: b"text", "Unknown image file format."),
    ],
)
def test_corrupt_files_are_named_and_refused_or_left_out(
    tmp_path, name, spoil, reason
):
    (image,) = make_images(1)
    write_image(tmp_path / "good.png", image)
    path = tmp_path / name
    good = path.with_suffix(".jpg" if name.endswith("jpg") else ".png")
    write_image(good, image)
    path.write_bytes(spoil(good.read_bytes()))
    if good != path:
        good.unlink()
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path)
    assert str(error.value).startswith(
        "`path` must name images that can be decoded. "
        f"Received: path={str(path)!r}, error={reason!r}"[:-1]
    )
    told = []
    found = read_image_files(
        tmp_path, on_corrupt=lambda *both: told.append(both)
    )
    np.testing.assert_array_equal(found.images, [image])
    ((told_path, told_reason),) = told
    assert told_path == str(path)
    assert told_reason.startswith(reason)
    assert "{" not in told_reason
    assert "[Op" not in told_reason


def test_where_there_is_no_image(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    message = (
        "`path` must name a folder or an archive with images. "
        f"Received: path={str(tmp_path)!r}, endings={ENDINGS}."
    )
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path)
    assert str(error.value) == message
    # Nor where all have been left out.
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError) as error:
        read_image_files(tmp_path, on_corrupt=lambda *both: None)
    assert str(error.value) == message


@pytest.mark.parametrize("cut", [0, 200])
def test_a_broken_archive_is_named(tmp_path, cut):
    path = tmp_path / "images.tar.gz"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.png")
        noise = np.random.default_rng(0).bytes(1000)
        info.size = len(noise)
        archive.addfile(info, io.BytesIO(noise))
    path.write_bytes(content.getvalue()[:cut])
    with pytest.raises(ValueError) as error:
        read_image_files(path)
    assert str(error.value).startswith(
        "`path` must name a folder or an archive that can be read. "
        f"Received: path={str(path)!r}, error="
    )

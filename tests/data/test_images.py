"""Tests of keras_xf.data.images, labeled_images and digits."""

import gzip
import importlib.util
import tarfile

import numpy as np
import pytest

from keras_xf.data.digits import read_digits
from keras_xf.data.images import read_images
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.data.labeled_images import join_images
from tests.data.image_cases import idx_bytes
from tests.data.image_cases import make_images
from tests.data.image_cases import write_image

IMAGES = make_images(6)
GRAY = make_images(3, channels=1, seed=1)


@pytest.fixture
def files(tmp_path):
    for place, image in enumerate(IMAGES[:2]):
        write_image(tmp_path / "folder" / "cat" / f"{place}.png", image)
    np.savez(tmp_path / "a.npz", images=IMAGES[2:], labels=[3, 4, 5, 6])
    (tmp_path / "idx").write_bytes(idx_bytes(GRAY[..., 0]))
    (tmp_path / "labels.gz").write_bytes(gzip.compress(idx_bytes([10, 9, 9])))
    return tmp_path


def test_all_kinds_side_by_side(files):
    found = read_images(
        [files / "idx", str(files / "folder"), files / "a.npz"],
        [files / "labels.gz"],
    )
    expected = np.concatenate([GRAY.repeat(3, -1), IMAGES])
    np.testing.assert_array_equal(found.images, expected)
    assert found.labels == ["10", "9", "9", "cat", "cat", "3", "4", "5", "6"]
    assert found.classes == ["3", "4", "5", "6", "9", "10", "cat"]
    np.testing.assert_array_equal(
        found.class_ids(found.classes), [5, 4, 4, 6, 6, 0, 1, 2, 3]
    )
    fitted = read_images(
        [files / "idx", files / "a.npz"], [files / "labels.gz"], image_size=4
    )
    np.testing.assert_array_equal(
        fitted.images, expected[[0, 1, 2, 5, 6, 7, 8], :, 0:4]
    )


@pytest.mark.parametrize("image_size", [None, 3])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("folder", ["cat/0.png", "cat/1.png"]),
        ("folder/cat", ["0.png", "1.png"]),
        ("folder.tar", ["train/cat/0.png", "train/cat/1.png"]),
        ("a.npz", ["a.npz:0", "a.npz:1", "a.npz:2", "a.npz:3"]),
        ("idx", ["idx:0", "idx:1", "idx:2"]),
    ],
)
def test_names_of_one_place_are_the_same_wherever_it_lies(
    files, path, names, image_size
):
    with tarfile.open(files / "folder.tar", "w") as archive:
        archive.add(files / "folder", "train")
    found = read_images([files / path], image_size=image_size)
    assert found.names == names


def test_names_of_several_places_tell_them_apart(files, monkeypatch):
    monkeypatch.chdir(files)
    for place, image in enumerate(IMAGES[4:]):
        write_image(files / "more" / "folder" / "cat" / f"{place}.png", image)
    np.savez(files / "more" / "a.npz", images=IMAGES[:1], labels=["cat"])
    with tarfile.open(files / "more" / "b.tar", "w") as archive:
        archive.add(files / "folder" / "cat", "cat")
    found = read_images(
        ["folder", "more/folder/", "more/b.tar", "more/a.npz", "idx"],
        ["labels.gz"],
    )
    assert found.names == [
        *("folder/cat/0.png", "folder/cat/1.png"),
        *("more/folder/cat/0.png", "more/folder/cat/1.png"),
        *("more/b.tar/cat/0.png", "more/b.tar/cat/1.png"),
        *("more/a.npz:0", "idx:0", "idx:1", "idx:2"),
    ]
    np.testing.assert_array_equal(
        found.images[:7], IMAGES[[0, 1, 4, 5, 0, 1, 0]]
    )


def test_what_is_left_out_leaves_no_name(files):
    for name in ("0", "2", "3"):
        write_image(files / "folder" / "cat" / f"{name}.png", IMAGES[5])
    (files / "folder" / "cat" / "1.png").write_bytes(b"text")
    told = []
    found = read_images(
        [files / "folder"], on_corrupt=lambda path, reason: told.append(path)
    )
    assert told == [str(files / "folder" / "cat" / "1.png")]
    assert found.names == ["cat/0.png", "cat/2.png", "cat/3.png"]
    assert len(found.images) == len(found.labels) == 3


def test_images_are_joined_with_all_names_or_none():
    one = LabeledImages(IMAGES[:2], names=["a", "b"])
    assert join_images([one, one], ["x", "y"]).names == ["a", "b", "a", "b"]
    other = LabeledImages(IMAGES[:2])
    assert join_images([one, other], ["x", "y"]).names is None


def test_a_file_named_twice_has_the_labels_of_each_time(files):
    (files / "others").write_bytes(idx_bytes([1, 2, 3]))
    found = read_images(
        [files / "idx"] * 2, [files / "labels.gz", files / "others"]
    )
    assert found.labels == ["10", "9", "9", "1", "2", "3"]


def test_gray_images_stay_gray(files):
    found = read_images([files / "idx", files / "idx"])
    np.testing.assert_array_equal(found.images, np.concatenate([GRAY, GRAY]))
    assert found.labels is None


@pytest.mark.parametrize(
    ("paths", "labels", "message"),
    [
        (
            [],
            [],
            "`train_images` must be a list of at least one file or folder. "
            "Received: train_images=[].",
        ),
        (
            ["idx", "none.npz"],
            [],
            "`train_images` must name files or folders that there are. "
            "Received: path='{files}/none.npz'.",
        ),
        (
            ["folder/cat/0.png"],
            [],
            "`train_images` must name folders of image files, not the files. "
            "Received: path='{files}/folder/cat/0.png'.",
        ),
        (
            ["images.ZIP"],
            [],
            "`train_images` must name folders, tar archives (.tar, .tar.gz, "
            ".tgz, .tar.xz, .txz, .tar.bz2, .tbz2, .tbz), .npz files or idx "
            "files. Received: path='{files}/images.ZIP'.",
        ),
        (
            ["a.npz"],
            ["labels.gz"],
            "`train_labels` must be empty, or a file for each idx file of "
            "`train_images`. Received: train_labels=('{files}/labels.gz',), "
            "idx_files=().",
        ),
        (
            ["idx"],
            ["labels_of_two"],
            "`train_labels` must name files with a label for each image. "
            "Received: path='{files}/labels_of_two', labels=2, "
            "images_path='{files}/idx', images=3.",
        ),
        (
            ["idx_of_none"],
            [],
            "`train_images` must name idx files with images. "
            "Received: path='{files}/idx_of_none', shape=(0, 4, 5).",
        ),
        (
            ["a.npz", "large.npz"],
            [],
            "`train_images` must name images of one size, or be given with an "
            "`image_size`. Received: path='{files}/a.npz', size=(4, 5), "
            "other_path='{files}/large.npz', other_size=(8, 8).",
        ),
        (
            ["a.npz", "idx"],
            [],
            "`train_images` must name images that all have labels, or none. "
            "Received: path='{files}/a.npz', has_labels=True, "
            "other_path='{files}/idx', other_has_labels=False.",
        ),
    ],
)
def test_what_does_not_go_together_is_named(files, paths, labels, message):
    (files / "images.ZIP").write_bytes(b"PK")
    (files / "labels_of_two").write_bytes(idx_bytes([1, 2]))
    (files / "idx_of_none").write_bytes(idx_bytes(GRAY[:0, ..., 0]))
    np.savez(files / "large.npz", images=make_images(1, 8, 8), labels=[1])
    with pytest.raises(ValueError) as error:
        read_images(
            [files / path for path in paths],
            [files / path for path in labels],
            argument="train_images",
            labels_argument="train_labels",
        )
    assert str(error.value) == message.replace("{files}", str(files))


def test_parts_are_told_by_what_an_image_is():
    names = [str(place) for place in range(1000)]
    images = LabeledImages(make_images(1000), ["x"] * 1000, names)
    places = images.content_places()
    assert places.shape == (1000,)
    # Of evenly spread numbers.
    np.testing.assert_allclose(
        np.sort(places), np.arange(1000) / 1000, atol=0.06
    )
    order = np.random.default_rng(1).permutation(1000)
    np.testing.assert_array_equal(
        images.take(order).content_places(), places[order]
    )
    assert images.take(order).names == [names[place] for place in order]
    some = images.take(places < 0.1)
    np.testing.assert_array_equal(some.images, images.images[places < 0.1])
    assert some.labels == ["x"] * len(some.images)
    assert some.names == [names[place] for place in np.where(places < 0.1)[0]]


def test_grey_images_are_in_the_same_part_with_three_channels():
    places = LabeledImages(GRAY).content_places()
    three = LabeledImages(GRAY.repeat(3, -1)).content_places()
    np.testing.assert_array_equal(places, three)


def test_what_differs_has_another_hash():
    images = make_images(2)
    one = LabeledImages(images, ["a", "b"])
    assert one.sha256 == LabeledImages(images.copy(), ["a", "b"]).sha256
    others = [
        LabeledImages(images, ["b", "a"]),
        LabeledImages(images, None),
        LabeledImages(images[::-1], ["a", "b"]),
        LabeledImages(images.reshape(2, 5, 4, 3), ["a", "b"]),
    ]
    assert len({one.sha256, *(each.sha256 for each in others)}) == 5


def test_a_hash_is_that_of_images_and_labels_whatever_their_names():
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3, 1)
    # As runs have recorded it.
    expected = (
        "0011e48b30ac757f669d6923651ef784960a34f88e822a620bec42a4f10a41a8"
    )
    for names in (None, ["a", "b"], ["b", "a"]):
        assert LabeledImages(images, ["x", "y"], names).sha256 == expected


def test_classes_need_labels():
    images = LabeledImages(IMAGES[:2], ["a", "b"])
    with pytest.raises(ValueError) as error:
        images.class_ids(["a"])
    assert str(error.value) == (
        "`classes` must hold all labels. Received: classes=['a'], "
        "unknown=['b']."
    )
    with pytest.raises(ValueError) as error:
        LabeledImages(IMAGES).class_ids(["a"])
    assert str(error.value) == (
        "`labels` must not be none where classes are asked for. "
        "Received: labels=None."
    )
    assert LabeledImages(IMAGES).classes == []


def test_digits_are_those_of_scikit_learn():
    digits = read_digits()
    assert digits.images.shape == (1797, 8, 8, 1)
    assert digits.images.dtype == np.uint8
    # The first is a zero: white, or nearly, in a ring.
    assert digits.labels[0] == "0"
    np.testing.assert_array_equal(
        digits.images[0, 1, :, 0],
        np.rint(np.array([0, 0, 13, 15, 10, 15, 5, 0]) * 255 / 16),
    )
    assert digits.classes == list("0123456789")
    assert digits.names == [f"digits:{row}" for row in range(1797)]


def test_missing_scikit_learn_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError) as error:
        read_digits()
    assert str(error.value) == (
        "The digits need scikit-learn: pip install 'keras_xf[apps]'. "
        "Received: sklearn=None."
    )

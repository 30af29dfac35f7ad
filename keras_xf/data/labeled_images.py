"""Images of one size, with a label and a name each or without."""

import dataclasses
import hashlib
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

from keras_xf.checks import check


@dataclasses.dataclass(frozen=True)
class LabeledImages:
    """Images, the label of each, and where each came from.

    Attributes:
        images: uint8 `(count, height, width, channels)`.
        labels: A label for each image; None where there are none.
        names: For each image its file, or the row of a file, as the function
            that reads it tells; None where it is unknown.
    """

    images: np.ndarray
    labels: list[str] | None = None
    names: list[str] | None = None

    @property
    def classes(self) -> list[str]:
        """The different labels, numbers first and by their size."""
        return classes_of(self.labels or ())

    @property
    def sha256(self) -> str:
        """Tells these from other images, or from these with other labels.

        Names count for nothing: images that were moved are the same.
        """
        digest = hashlib.sha256(str(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update("\n".join(self.labels or ()).encode())
        return digest.hexdigest()

    def class_ids(self, classes: Sequence[str]) -> np.ndarray:
        """Returns the place of each label in a list, int32 `(count,)`.

        Args:
            classes: The labels that there are.

        Raises:
            ValueError: If there are no labels, or one is none of them.
        """
        check(
            self.labels is not None,
            "`labels` must not be none where classes are asked for.",
            labels=self.labels,
        )
        return class_ids_of(self.labels, classes)

    def take(self, rows: np.ndarray) -> "LabeledImages":
        """Returns some of them.

        Args:
            rows: Their places, or a boolean for each.
        """
        return LabeledImages(
            self.images[rows],
            labels=_take(self.labels, rows),
            names=_take(self.names, rows),
        )

    def content_places(self) -> np.ndarray:
        """Draws a number in `[0, 1)` for each image by a hash of its pixels.

        Parts that are told by these numbers are the same wherever an image
        stands, and equal images are in the same part. An image of three equal
        channels has the number that it has as a grey one. But one that was
        scaled is another, and has another number.

        Returns:
            float64 `(count,)`.
        """
        digests = (
            hashlib.sha256(np.ascontiguousarray(_as_grey(image)).data).digest()
            for image in self.images
        )
        return np.array(
            [int.from_bytes(each[:6], "big") / 2**48 for each in digests]
        )


def classes_of(labels: Iterable[str]) -> list[str]:
    """The different labels, numbers first and by their size.

    Args:
        labels: A label for each of some examples.
    """
    return sorted(set(labels), key=_place)


def class_ids_of(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Returns the place of each label among classes, int32 `(count,)`.

    Args:
        labels: A label for each of some examples.
        classes: The labels that there are.

    Raises:
        ValueError: If a label is none of them.
    """
    unknown = sorted(set(labels) - set(classes))
    check(
        not unknown,
        "`classes` must hold all labels.",
        classes=list(classes),
        unknown=unknown,
    )
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places[label] for label in labels], np.int32)


def numbered_names(source: str, count: int) -> list[str]:
    """Names images that have none by their rows, `<source>:<row>`.

    Args:
        source: What holds them.
        count: How many there are. The first is row 0.
    """
    return [f"{source}:{row}" for row in range(count)]


def join_images(
    parts: Sequence[LabeledImages],
    paths: Sequence[str],
    argument: str = "paths",
) -> LabeledImages:
    """Puts images of several sources together, in order.

    Where some are grey and others are not, the grey ones get three equal
    channels. Where some have names and others have none, none have.

    Args:
        parts: At least one.
        paths: What each is called, for the error message.
        argument: What names them, for the error message.

    Raises:
        ValueError: If sizes differ, or some have labels and others have none.
    """
    for path, part in zip(paths, parts, strict=True):
        size, first = part.images.shape[1:3], parts[0].images.shape[1:3]
        check(
            size == first,
            f"`{argument}` must name images of one size, or be given with an "
            "`image_size`.",
            path=paths[0],
            size=first,
            other_path=path,
            other_size=size,
        )
        check(
            (part.labels is None) == (parts[0].labels is None),
            f"`{argument}` must name images that all have labels, or none.",
            path=paths[0],
            has_labels=parts[0].labels is not None,
            other_path=path,
            other_has_labels=part.labels is not None,
        )
    channels = max(part.images.shape[-1] for part in parts)
    images = [
        np.broadcast_to(part.images, (*part.images.shape[:-1], channels))
        for part in parts
    ]
    return LabeledImages(
        np.concatenate(images),
        labels=_join([part.labels for part in parts]),
        names=_join([part.names for part in parts]),
    )


def _take(values, rows):
    if values is None:
        return None
    return np.array(values, object)[rows].tolist()


def _join(parts):
    if any(part is None for part in parts):
        return None
    return [value for part in parts for value in part]


def _as_grey(image):
    """One channel of those that are all equal, else all."""
    one = image[..., :1]
    return one if (image == one).all() else image


def _place(label):
    is_number = label.isdecimal()
    return (not is_number, int(label) if is_number else 0, label)

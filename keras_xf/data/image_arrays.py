"""Images in `.npz` files of NumPy."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_xf.checks import check
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.data.labeled_images import numbered_names


def read_image_arrays(
    path: str | Path, argument: str = "path"
) -> LabeledImages:
    """Reads `images`, and `labels` if there are any.

    An image's name is that of the file with its row, such as `some.npz:0`.

    Args:
        path: A `.npz` file. `images` is `(count, height, width)`, or with an
            axis of 1 or 3 channels behind, uint8 or floats in [0, 1], which
            are rounded to 256 levels. `labels` is `(count,)`, integers or
            strings.
        argument: What names the file, for the error message.

    Raises:
        ValueError: If the file cannot be read, or its arrays are others.
    """
    try:
        # NumPy would leave a file open that is no archive.
        with (
            Path(path).open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            found = {
                name: arrays[name]
                for name in ("images", "labels")
                if name in arrays
            }
    except (
        *(OSError, EOFError, ValueError, KeyError, AttributeError, TypeError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError),
        # A header may claim any size.
        MemoryError,
    ) as error:
        check(
            False,
            f"`{argument}` must name .npz files that can be read.",
            path=str(path),
            error=f"{type(error).__name__}: {error}",
        )
    check(
        "images" in found,
        f"`{argument}` must name .npz files with an array `images`.",
        path=str(path),
    )
    images = _to_bytes(found["images"], path, argument)
    labels = found.get("labels")
    if labels is not None:
        check(
            labels.dtype.kind in "iuU" and labels.shape == images.shape[:1],
            f"`{argument}` must name .npz files whose `labels` are an integer "
            "or a string for each of the `images`.",
            path=str(path),
            images=images.shape,
            labels=labels.shape,
            dtype=str(labels.dtype),
        )
        labels = [str(label) for label in labels.tolist()]
    names = numbered_names(Path(path).name, len(images))
    return LabeledImages(images, labels, names)


def _to_bytes(images, path, argument):
    is_float = images.dtype.kind == "f"
    check(
        images.dtype == np.uint8 or is_float,
        f"`{argument}` must name .npz files whose `images` are uint8 or floats "
        "in [0, 1].",
        path=str(path),
        dtype=str(images.dtype),
    )
    shape = images.shape
    check(
        images.size > 0 and (len(shape) == 3 or (shape[3:] in ((1,), (3,)))),
        f"`{argument}` must name .npz files whose `images` have the shape "
        "(count, height, width) or (count, height, width, channels) with 1 or "
        "3 channels.",
        path=str(path),
        shape=shape,
    )
    if is_float:
        # A value that is no number is in no range.
        lowest, highest = float(images.min()), float(images.max())
        check(
            0 <= lowest <= highest <= 1,
            f"`{argument}` must name .npz files whose `images` are uint8 or "
            "floats in [0, 1].",
            path=str(path),
            lowest=lowest,
            highest=highest,
        )
        images = np.rint(images * 255.0).astype(np.uint8)
    return images if len(shape) == 4 else images[..., np.newaxis]

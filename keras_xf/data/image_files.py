"""Folders and archives of image files."""

import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from pathlib import PurePosixPath

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.data.image_sizes import fit_square
from keras_xf.data.labeled_images import LabeledImages

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def read_image_files(
    path: str | Path,
    *,
    image_size: int | None = None,
    on_corrupt: Callable[[str, str], None] | None = None,
    argument: str = "path",
) -> LabeledImages:
    """Reads the image files in a folder, or in a tar archive.

    Files are taken in the order of their names, in all subfolders. An image's
    name is that of its file within the folder or the archive, such as
    `cat/1.png`. The folder that a file lies in is its label; files at the top
    have none. Hidden files and those without one of `ENDINGS` are passed over.
    Links are followed: in a folder all but those to a folder that they lie in,
    in an archive hard links.

    Images are grey if all files are, else they have three channels; a GIF is
    grey if all of its pixels are. Transparency is dropped, of a GIF the first
    picture taken, and of 16 bits the upper 8. Images are not turned as EXIF
    may say. A BMP with a table of colors cannot be decoded, unless the table is
    the greys in order.

    Args:
        path: The folder, or the archive, whatever it is compressed by.
        image_size: The size of both sides, as `fit_square` makes it; by
            default all files must have one size.
        on_corrupt: Called with the name and the reason of each file that
            cannot be read or decoded, which is then left out. By default that
            is an error.
        argument: What names the folder, for the error message.

    Raises:
        ValueError: If there is no image, if one cannot be decoded, if sizes
            differ, or if some files lie at the top and others in subfolders;
            names the files.
    """
    path = Path(path)
    read = _read_folder if path.is_dir() else _read_archive
    insides, images = [], []
    for inside, content in read(path, argument):
        image = _decode(content, str(path / inside), on_corrupt, argument)
        if image is None:
            continue
        if image_size is not None:
            image = fit_square(image, image_size)
        if images:
            size, first = image.shape[:2], images[0].shape[:2]
            check(
                size == first,
                f"`{argument}` must name images of one size, or be given with "
                "an `image_size`.",
                path=str(path / insides[0]),
                size=first,
                other_path=str(path / inside),
                other_size=size,
            )
        insides.append(inside)
        images.append(image)
    check(
        images,
        f"`{argument}` must name a folder or an archive with images.",
        path=str(path),
        endings=ENDINGS,
    )
    labels = [inside.parent.name for inside in insides]
    first = {}
    for inside, label in zip(insides, labels, strict=True):
        first.setdefault(bool(label), str(path / inside))
    check(
        len(first) == 1,
        f"`{argument}` must name images that are all in subfolders, or none.",
        path=first.get(False),
        other_path=first.get(True),
    )
    return LabeledImages(
        _stack(images),
        labels=labels if True in first else None,
        names=[str(inside) for inside in insides],
    )


def _stack(images):
    channels = max(image.shape[-1] for image in images)
    stacked = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for place, image in enumerate(images):
        stacked[place] = image
    return stacked


def _decode(content, name, on_corrupt, argument):
    """Returns uint8 `(height, width, 1 or 3)`, None if it is to be left out."""
    reason = None
    if isinstance(content, OSError):
        reason = content.strerror or str(content)
    elif _has_palette(content):
        reason = "BMP with a table of colors."
    else:
        try:
            with tf.device("CPU:0"):
                image = tf.io.decode_image(
                    content, expand_animations=False
                ).numpy()
        except (
            *(tf.errors.InvalidArgumentError, tf.errors.UnknownError),
        ) as error:
            # Around the reason stand the names of operations.
            reason = error.message.split("}} ")[-1].split(" [Op")[0]
    if reason is not None:
        if on_corrupt is None:
            check(
                False,
                f"`{argument}` must name images that can be decoded.",
                path=name,
                error=reason,
            )
        on_corrupt(name, reason)
        return None
    # A second or fourth channel says how transparent it is.
    image = image[..., : 1 if image.shape[-1] < 3 else 3]
    # Whatever it was, a GIF is decoded to three.
    if content.startswith(b"GIF8") and (image == image[..., :1]).all():
        image = image[..., :1]
    return image


def _has_palette(content):
    """Whether these are the bytes of a BMP whose pixels are places in a table.

    TensorFlow would take the places for levels of grey, which they are if the
    table says so.
    """
    if not content.startswith(b"BM") or len(content) < 54:
        return False
    start, header = struct.unpack_from("<II", content, 10)
    (bits,) = struct.unpack_from("<H", content, 28)
    if bits > 8:
        return False
    table = np.frombuffer(content[14 + header : start], np.uint8)
    entries = table[: len(table) // 4 * 4].reshape(-1, 4)[:, :3]
    levels = np.arange(len(entries))[:, np.newaxis]
    return bits < 8 or not (entries == levels).all()


def _read_folder(path, argument) -> Iterator:
    """Names and contents, or the error where a file cannot be read."""
    for name in sorted(_names(path, PurePosixPath())):
        try:
            content = (path / name).read_bytes()
        except OSError as error:
            content = error
        yield name, content


def _names(folder, inside, above=()):
    real = folder.resolve()
    # A link to a folder that it lies in would have no end.
    if real in above:
        return
    for path in folder.iterdir():
        name = inside / path.name
        if path.is_dir():
            yield from _names(path, name, (*above, real))
        elif _is_image(name):
            yield name


def _read_archive(path, argument) -> Iterator:
    try:
        with tarfile.open(path) as archive:
            # In the order of the archive: each jump back would decompress it
            # from its beginning.
            found = {
                PurePosixPath(member.name): archive.extractfile(member).read()
                for member in archive
                if (member.isfile() or member.islnk())
                and _is_image(PurePosixPath(member.name))
            }
    except (
        *(OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error),
        # A hard link to what is not in the archive.
        KeyError,
    ) as error:
        check(
            False,
            f"`{argument}` must name a folder or an archive that can be read.",
            path=str(path),
            error=str(error),
        )
    yield from sorted(found.items())


def _is_image(path):
    is_hidden = any(part.startswith(".") for part in path.parts)
    return not is_hidden and path.name.lower().endswith(ENDINGS)

"""Images of CIFAR-10, from an archive of JPEG files."""

import tarfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.files import sha256


def read_cifar10(archive: str | Path, cache: str | Path) -> Path:
    """Decodes the images of an archive, once.

    Args:
        archive: A `.tar.xz` of files `<split>/<class>/<number>.jpg`, all of
            one size.
        cache: Folder for the `.npy` file to write, which has part of the
            archive's SHA-256 in its name; left alone if it is there.

    Returns:
        The file, which holds uint8 `(number, height, width, channels)` in the
        order of the files' names.

    Raises:
        ValueError: If there is no image in the archive.
    """
    cache = Path(cache) / f"images_{sha256(Path(archive))[:16]}.npy"
    if cache.exists():
        return cache
    with tarfile.open(archive) as files:
        images = {
            member.name: tf.io.decode_jpeg(files.extractfile(member).read())
            for member in files
            if member.name.endswith(".jpg")
        }
    check(images, "`archive` must hold .jpg files.", archive=str(archive))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(cache) as aside, aside.open("wb") as file:
        np.save(file, np.stack([images[name] for name in sorted(images)]))
    return cache

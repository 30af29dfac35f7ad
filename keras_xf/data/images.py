"""Images from wherever they are, by the kind of file."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

from keras_xf.checks import check
from keras_xf.data.idx_files import read_idx
from keras_xf.data.image_arrays import read_image_arrays
from keras_xf.data.image_files import ENDINGS
from keras_xf.data.image_files import read_image_files
from keras_xf.data.image_sizes import fit_square
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.data.labeled_images import join_images
from keras_xf.data.labeled_images import numbered_names

_ARCHIVES = (
    *(".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz"),
    *(".tar.bz2", ".tbz2", ".tbz"),
)
# Idx files may have any name but these.
_OTHERS = (".7z", ".rar", ".zip", ".zst")


def read_images(
    paths: Sequence[str | Path],
    labels_paths: Sequence[str | Path] = (),
    *,
    image_size: int | None = None,
    on_corrupt: Callable[[str, str], None] | None = None,
    argument: str = "paths",
    labels_argument: str = "labels_paths",
) -> LabeledImages:
    """Reads images of several places, in order.

    An image's name is its file within the folder or the archive, such as
    `cat/1.png`, or the file's name with the image's row in it, such as
    `some.npz:0`: wherever these lie, it is the same. Of several places, which
    may have the same files, each name begins with the path as it is given:
    `photos/cat/1.png`, `more/photos.tar/cat/1.png`, `more/some.npz:0`.

    Args:
        paths: For each place a folder or a tar archive of image files, as
            `read_image_files` takes it, a `.npz` file, as `read_image_arrays`
            takes it, or else an idx file.
        labels_paths: An idx file of labels for each idx file of images, or
            none.
        image_size: The size of both sides, as `fit_square` makes it.
        on_corrupt: As `read_image_files` takes it.
        argument: What names the places, for the error message.
        labels_argument: What names the labels, for the error message.

    Raises:
        ValueError: If a file is missing, broken or not of its kind, if sizes
            differ, or if there are not as many labels as images.
    """
    check(
        not isinstance(paths, (str, bytes, Path)) and len(paths) > 0,
        f"`{argument}` must be a list of at least one file or folder.",
        **{argument: paths},
    )
    paths = [Path(path) for path in paths]
    for path in paths:
        check(
            path.exists(),
            f"`{argument}` must name files or folders that there are.",
            path=str(path),
        )
        check(
            path.is_dir() or not path.name.lower().endswith(ENDINGS),
            f"`{argument}` must name folders of image files, not the files.",
            path=str(path),
        )
        check(
            path.is_dir() or not path.name.lower().endswith(_OTHERS),
            f"`{argument}` must name folders, tar archives "
            f"({', '.join(_ARCHIVES)}), .npz files or idx files.",
            path=str(path),
        )
    idx_paths = [path for path in paths if _kind(path) == "idx"]
    check(
        len(labels_paths) in (0, len(idx_paths)),
        f"`{labels_argument}` must be empty, or a file for each idx file of "
        f"`{argument}`.",
        **{labels_argument: tuple(map(str, labels_paths))},
        idx_files=tuple(map(str, idx_paths)),
    )
    # By their order: a file may be named twice.
    left = iter(labels_paths)
    parts = []
    for path in paths:
        if _kind(path) == "files":
            part = read_image_files(
                path,
                image_size=image_size,
                on_corrupt=on_corrupt,
                argument=argument,
            )
        elif _kind(path) == "arrays":
            part = read_image_arrays(path, argument)
        else:
            part = _read_idx_pair(
                path, next(left, None), argument, labels_argument
            )
        if image_size is not None:
            part = dataclasses.replace(
                part, images=fit_square(part.images, image_size)
            )
        if len(paths) > 1:
            part = dataclasses.replace(part, names=_full_names(path, part))
        parts.append(part)
    return join_images(parts, [str(path) for path in paths], argument)


def _kind(path):
    if path.is_dir() or path.name.lower().endswith(_ARCHIVES):
        return "files"
    return "arrays" if path.suffix.lower() == ".npz" else "idx"


def _full_names(path, part):
    if _kind(path) == "files":
        return [f"{path}/{name}" for name in part.names]
    return numbered_names(str(path), len(part.images))


def _read_idx_pair(path, labels_path, argument, labels_argument):
    images = read_idx(path, 3, argument)
    check(
        images.size > 0,
        f"`{argument}` must name idx files with images.",
        path=str(path),
        shape=images.shape,
    )
    names = numbered_names(path.name, len(images))
    if labels_path is None:
        return LabeledImages(images[..., None], names=names)
    labels = read_idx(labels_path, 1, labels_argument)
    check(
        len(labels) == len(images),
        f"`{labels_argument}` must name files with a label for each image.",
        path=str(labels_path),
        labels=len(labels),
        images_path=str(path),
        images=len(images),
    )
    return LabeledImages(
        images[..., None], [str(each) for each in labels], names
    )

"""Codes of images in `.npz` files."""

import dataclasses
import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_xf.checks import check
from keras_xf.files import atomic_file

# All names that codes may have.
NAMES = ("code_ids", "top_code_ids", "bottom_code_ids")


@dataclasses.dataclass(frozen=True)
class Codes:
    """Codes of images, and what belongs to them.

    Attributes:
        arrays: int32 `(count, height, width)` by the codes' names.
        labels: A label for each image; None where there are none.
        autoencoder_sha256: Of the `model.keras` that made them.
        names: Where each image came from; None where it is unknown.
    """

    arrays: dict[str, np.ndarray]
    labels: list[str] | None
    autoencoder_sha256: str
    names: list[str] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def sha256(self) -> str:
        """Tells these from other codes, or from these with other labels.

        Names count for nothing: codes of images that were moved are the same.
        """
        digest = hashlib.sha256("\n".join(self.labels or ()).encode())
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes a `.npz` file that is there whole or not at all.

        Args:
            path: The file. Its folder is made where it is missing.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = dict(self.arrays)
        for name in ("labels", "names"):
            if getattr(self, name) is not None:
                arrays[name] = np.array(getattr(self, name))
        with atomic_file(path) as aside, aside.open("wb") as file:
            np.savez_compressed(
                file, autoencoder_sha256=self.autoencoder_sha256, **arrays
            )


def read_codes(
    path: str | Path,
    code_shapes: Mapping[str, tuple[int, int]],
    num_codes: Mapping[str, int],
    autoencoder_sha256: str,
    flag: str,
) -> Codes:
    """Reads what `Codes.save` wrote, also when it wrote no names yet.

    Args:
        path: The file.
        code_shapes: Height and width by name, of the autoencoder.
        num_codes: How many codes there are, by name.
        autoencoder_sha256: Of its `model.keras`.
        flag: The option that names the file, for the error message.

    Raises:
        ValueError: If the file cannot be read, or its codes are those of
            another autoencoder.
    """
    try:
        # NumPy would leave a file open that is no archive.
        with (
            Path(path).open("rb") as file,
            np.load(file, allow_pickle=False) as found,
        ):
            arrays = {name: found[name] for name in found}
    except (
        *(OSError, EOFError, ValueError, KeyError, AttributeError, TypeError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError),
        # A header may claim any size.
        MemoryError,
    ) as error:
        check(
            False,
            f"`{flag}` must name a file of codes that can be read.",
            path=str(path),
            error=f"{type(error).__name__}: {error}",
        )
    made_by = str(arrays.pop("autoencoder_sha256", "unknown"))
    check(
        made_by == autoencoder_sha256,
        f"`{flag}` must name codes of this autoencoder: encode the images "
        "again.",
        path=str(path),
        made_by=made_by,
        autoencoder=autoencoder_sha256,
    )
    labels, image_names = arrays.get("labels"), arrays.get("names")
    codes = {name: arrays[name] for name in NAMES if name in arrays}
    count = len(next(iter(codes.values()), ()))
    check(
        count > 0
        and {name: x.shape for name, x in codes.items()}
        == {name: (count, *shape) for name, shape in code_shapes.items()}
        and all(
            x.dtype == np.int32 and 0 <= x.min() <= x.max() < num_codes[name]
            for name, x in codes.items()
        )
        and _are_strings(labels, count)
        and _are_strings(image_names, count),
        f"`{flag}` must name a file of codes as apps.images.encode writes it.",
        path=str(path),
        shapes={name: x.shape for name, x in arrays.items()},
    )
    return Codes(
        codes,
        None if labels is None else labels.tolist(),
        autoencoder_sha256,
        names=None if image_names is None else image_names.tolist(),
    )


def _are_strings(array, count):
    """Whether there is a string for each image, or no array."""
    return array is None or (
        array.shape == (count,) and array.dtype.kind == "U"
    )

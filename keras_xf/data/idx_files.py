"""The idx files of MNIST (LeCun et al., 1998)."""

import struct
from pathlib import Path

import numpy as np

from keras_xf.checks import check
from keras_xf.data.text_files import read_documents

# Two bytes of zero, the type (8: unsigned bytes) and the number of axes.
_MAGIC = {1: 2049, 3: 2051}


def read_idx(
    path: str | Path, num_axes: int, argument: str = "path"
) -> np.ndarray:
    """Reads an array of bytes.

    The format is a magic number, the size of each axis and the bytes, all
    numbers big-endian and of 32 bits.

    Args:
        path: The file, plain or `.gz`.
        num_axes: 3 for images `(count, height, width)`, 1 for labels
            `(count,)`.
        argument: What names the file, for the error message.

    Returns:
        uint8 array.

    Raises:
        ValueError: If the file is missing or broken, has another magic number,
            or does not have as many bytes as it says.
    """
    try:
        (content,) = read_documents([path])
    except ValueError as error:
        check(
            False,
            f"`{argument}` must name files that can be read and are not empty.",
            path=str(path),
            error=str(error.__context__ or "empty"),
        )
    header = 4 * (1 + num_axes)
    numbers = struct.unpack(
        f">{1 + num_axes}I", content[:header].ljust(header, b"\0")
    )
    kind = {1: "labels", 3: "images"}[num_axes]
    check(
        numbers[0] == _MAGIC[num_axes],
        f"`{argument}` must name idx files of {kind}, with the magic number "
        f"{_MAGIC[num_axes]}.",
        path=str(path),
        magic=numbers[0],
    )
    shape = numbers[1:]
    expected = header + int(np.prod(shape, dtype=object))
    check(
        len(content) == expected,
        f"`{argument}` must name idx files that have as many bytes as they "
        "say.",
        path=str(path),
        shape=shape,
        expected_bytes=expected,
        bytes=len(content),
    )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)

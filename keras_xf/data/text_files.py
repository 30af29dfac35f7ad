"""Text files to documents, one a file."""

import gzip
import lzma
import zlib
from collections.abc import Sequence
from pathlib import Path

from keras_xf.checks import check

_OPEN = {".gz": gzip.open, ".xz": lzma.open}


def read_documents(paths: Sequence[str | Path]) -> list[bytes]:
    """Reads files whole, in the order given.

    Args:
        paths: Files of any content, one document each. Those that end in `.gz`
            or `.xz` are decompressed.

    Returns:
        The documents' bytes.

    Raises:
        ValueError: If there is no path, or if a file is missing, cannot be
            read, is empty, or is broken as a compressed file; names the path.
    """
    check(
        not isinstance(paths, (str, bytes, Path)) and len(paths) > 0,
        "`paths` must be a list of at least one file.",
        paths=paths,
    )
    return [_read_document(Path(path)) for path in paths]


def _read_document(path: Path) -> bytes:
    open_file = _OPEN.get(path.suffix, open)
    try:
        with open_file(path, "rb") as file:
            document = file.read()
    # A file cut short raises EOFError; damage inside it, one of the others.
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        check(
            False,
            "`paths` must name files that can be read.",
            path=str(path),
            error=str(error),
        )
    check(document, "`paths` must name files with content.", path=str(path))
    return document

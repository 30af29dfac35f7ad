"""Text files that a user names."""

from keras_xf.checks import check
from keras_xf.data.text_files import read_documents


def read_document(path: str, flag: str) -> bytes:
    """Reads a file, decompressed if it ends in `.gz` or `.xz`.

    Args:
        path: The file.
        flag: The option that names it, for the error message.

    Raises:
        ValueError: If it is missing, broken or empty.
    """
    try:
        return read_documents([path])[0]
    except ValueError as error:
        check(
            False,
            f"`{flag}` must name files that can be read and are not empty.",
            path=path,
            # What the system or a decompressor said.
            error=str(error.__context__ or "empty"),
        )

"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to; what stands there then replaces `path`.

    A process that dies in between leaves the old file as it was, and a hidden
    file beside it that the next writer overwrites.

    Args:
        path: The file to replace or to make.
    """
    path = Path(path)
    # Same folder, so that renaming is atomic; same ending, which Keras asks of
    # a `.keras` file; the same name each time, so that none pile up.
    aside = path.with_name(f".{path.name}")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_names(path: str | Path, names: Iterable[str]) -> None:
    """Replaces a file by a list of names, one a line.

    Args:
        path: The file, in UTF-8. Its folder is made where it is missing.
        names: Names without ends of lines.

    Raises:
        ValueError: If a name has one.
    """
    path, names = Path(path), list(names)
    for name in names:
        if {"\n", "\r"} & set(name):
            # Nothing is below this module, `check` neither.
            raise ValueError(
                f"`names` must not have ends of lines. Received: name={name!r}."
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as aside:
        aside.write_bytes("".join(f"{name}\n" for name in names).encode())


def read_names(path: str | Path) -> list[str]:
    """Reads the names that `write_names` wrote.

    Args:
        path: The file.
    """
    return Path(path).read_bytes().decode().split("\n")[:-1]


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    elif os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""The source files of Python's own standard library, as a corpus."""

import hashlib
import os
import sysconfig
from pathlib import Path

from keras_xf.checks import check

SPLITS = ("train", "validation", "test")

# Less could not tell a model from a compressor with any confidence.
MIN_TEST_BYTES = 200_000

# Fractions of the files, not of the bytes.
_TEST_FRACTION = 0.05
_VALIDATION_FRACTION = 0.015

_LEFT_OUT = {
    # What others have installed, and tests: some systems lack the latter.
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    # Generated tables and pages: the former are nearly copies of each other,
    # so that a held-out one tests nothing; one of the latter has more bytes
    # than all files that are held out.
    "encodings",
    "pydoc_data",
    # Debian's is the system's, not Python's.
    "sitecustomize.py",
}
# Written when this Python was built: they tell about the machine.
_LEFT_OUT_PREFIXES = ("_sysconfigdata", "config-")


def standard_library_files(
    folder: str | Path | None = None,
) -> dict[str, list[Path]]:
    """Lists the files of each split.

    Of the files of `source_names` a hash of the path inside the library
    decides, so that a file belongs to the same split on every machine and in
    every version of Python. Some 5 in 100 files are for the test and 1.5 for
    validation.

    Args:
        folder: Where the library lies; by default, where the running Python
            has it.

    Returns:
        Paths by split, `"train"`, `"validation"` and `"test"`, each list in
        the order of the paths inside the library.

    Raises:
        ValueError: If a split has no file, or the test split fewer than
            `MIN_TEST_BYTES` bytes, as in a Python that was cut down.
    """
    folder = Path(folder or sysconfig.get_path("stdlib"))
    files = {split: [] for split in SPLITS}
    for name in source_names(folder):
        files[split_of(name)].append(folder / name)
    for split in SPLITS:
        check(
            files[split],
            f"`folder` must hold source files for the {split} split.",
            folder=str(folder),
        )
    test_bytes = sum(path.stat().st_size for path in files["test"])
    check(
        test_bytes >= MIN_TEST_BYTES,
        f"`folder` must hold {MIN_TEST_BYTES} bytes of test files.",
        folder=str(folder),
        test_bytes=test_bytes,
    )
    return files


def split_of(name: str) -> str:
    """Returns the split of a file.

    Args:
        name: Path inside the library, with forward slashes.
    """
    # Python's own `hash` of a string changes from process to process.
    digest = hashlib.sha256(name.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < _TEST_FRACTION:
        return "test"
    if place < _TEST_FRACTION + _VALIDATION_FRACTION:
        return "validation"
    return "train"


def source_names(folder: Path) -> list[str]:
    """Lists the source files that are not left out.

    Tests, installed packages, empty files, generated files and the generated
    tables in `encodings` and `pydoc_data` are.

    Args:
        folder: Where the library lies.

    Returns:
        Paths inside the library, with forward slashes, in order.
    """
    names = []
    for parent, subfolders, files in os.walk(folder):
        # Changed in place, which keeps `walk` out of installed packages: they
        # can hold a hundred times as many files as the library.
        subfolders[:] = filter(_is_wanted, subfolders)
        inside = Path(parent).relative_to(folder)
        names += [
            (inside / file).as_posix()
            for file in files
            if file.endswith(".py")
            and _is_wanted(file)
            # Not a link that leads nowhere.
            and Path(parent, file).is_file()
            and Path(parent, file).stat().st_size > 0
        ]
    return sorted(names)


def _is_wanted(name: str) -> bool:
    return name not in _LEFT_OUT and not name.startswith(_LEFT_OUT_PREFIXES)

"""The packages of Python's own standard library, as classes of source files."""

import collections
import hashlib
import math
import sysconfig
from pathlib import Path

from keras_xf.checks import check
from keras_xf.data.standard_library import SPLITS
from keras_xf.data.standard_library import source_names

# Fractions of the files of each package.
_TEST_FRACTION = 0.2
_VALIDATION_FRACTION = 0.1


def standard_library_packages(
    folder: str | Path | None = None, min_files: int = 8
) -> dict[str, list[tuple[str, Path]]]:
    """Lists the files of each split with the package that each belongs to.

    The files are those of `standard_library.source_names`, without modules
    that are in no package and packages of few files. Within each package the
    files are ordered by a hash of their path: the first fifth, rounded up, are
    for the test, the next tenth, rounded up, for validation. So every package
    has its share of each split, which is the same on every machine with this
    version of Python.

    Args:
        folder: Where the library lies; by default, where the running Python
            has it.
        min_files: Fewest files of a package, at least 3.

    Returns:
        Pairs of the package's name and the path by split, `"train"`,
        `"validation"` and `"test"`, each list in the order of the paths inside
        the library.

    Raises:
        ValueError: If an argument is out of range, or fewer than two packages
            have so many files.
    """
    check(
        min_files >= 3, "`min_files` must be at least 3.", min_files=min_files
    )
    folder = Path(folder or sysconfig.get_path("stdlib"))
    packages = collections.defaultdict(list)
    for name in source_names(folder):
        package, _, rest = name.partition("/")
        if rest:
            packages[package].append(name)
    packages = {
        package: names
        for package, names in packages.items()
        if len(names) >= min_files
    }
    check(
        len(packages) >= 2,
        "`folder` must hold two packages of `min_files` source files.",
        folder=str(folder),
        min_files=min_files,
        packages=sorted(packages),
    )
    files = {split: [] for split in SPLITS}
    for package, names in sorted(packages.items()):
        for name, split in zip(names, _splits(names), strict=True):
            files[split].append((package, folder / name))
    return files


def _splits(names):
    """Returns the split of each file of a package."""
    by_hash = sorted(
        names, key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    num_test = math.ceil(_TEST_FRACTION * len(names))
    num_validation = math.ceil(_VALIDATION_FRACTION * len(names))
    split = dict.fromkeys(by_hash, "train")
    split |= dict.fromkeys(by_hash[: num_test + num_validation], "validation")
    split |= dict.fromkeys(by_hash[:num_test], "test")
    return [split[name] for name in names]

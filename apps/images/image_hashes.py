"""Which images a run was made of, by their hashes."""

import json
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

from apps.training import RunDirectory
from keras_xf.checks import check
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.files import atomic_file

# In the run directory of an autoencoder.
NAME = "images.json"


def write_image_hashes(
    folder: str | Path, parts: Mapping[str, LabeledImages]
) -> None:
    """Writes the hashes of a run's images into its directory.

    Args:
        folder: The run directory.
        parts: Images by part.
    """
    hashes = {f"{split}_sha256": part.sha256 for split, part in parts.items()}
    with atomic_file(Path(folder) / NAME) as aside:
        aside.write_text(json.dumps(hashes, indent=1) + "\n")


def check_image_hashes(
    run: RunDirectory,
    parts: Mapping[str, LabeledImages],
    splits: Iterable[str],
    flag: str,
) -> None:
    """Makes sure that images read again are those of a run.

    Runs that have no `images.json`, as early ones, are not checked.

    Args:
        run: The run directory.
        parts: Images by part.
        splits: The parts that are of interest.
        flag: The option that named the directory, for the error message.

    Raises:
        ValueError: If the images are others.
    """
    path = run.path / NAME
    if not path.exists():
        return
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        hashes = None
    check(
        isinstance(hashes, dict),
        f"`{flag}` must have an {NAME} that holds hashes.",
        path=str(path),
    )
    for split in splits:
        there, here = hashes.get(f"{split}_sha256"), parts[split].sha256
        check(
            there == here,
            f"`{flag}` must be of a run whose images are still what they were.",
            **{flag: str(run.path)},
            split=split,
            there=there,
            here=here,
        )

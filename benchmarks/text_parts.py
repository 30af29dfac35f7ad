"""A text as the three parts that a language model is trained with."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from keras_xf.checks import check
from keras_xf.data.text_files import read_documents
from keras_xf.files import atomic_file

# In the order of the file; the habit for enwik8.
FRACTIONS = {"train": 0.9, "validation": 0.05, "test": 0.05}
# What files of a text that comes in parts are called by others, WikiText's
# among them.
_STEMS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "test_2016_flickr"),
}


def split_text(
    path: str | Path, folder: str | Path, languages: Sequence[str] = ()
) -> Path:
    """Writes the parts of a text, of a file each from the beginning of a line.

    Args:
        path: The text, plain, .gz or .xz; or a folder that holds its parts as
            files `train`, `validation`, `valid` or `val`, and `test`, of any
            such suffix, which are taken as they are.
        folder: Where to keep parts of texts.
        languages: Second parts of the files' names, such as `en`, where the
            folder holds a text in several languages.

    Returns:
        A folder inside, of `train.txt`, `validation.txt` and `test.txt`, or,
        with languages, `train.en` and so on, whose name tells one text from
        another.

    Raises:
        ValueError: If a file is missing or cannot be read, or the text has too
            few lines.
    """
    is_folder = Path(path).is_dir()
    check(
        is_folder or not languages,
        "`path` must be a folder where there are `languages`.",
        path=str(path),
        languages=languages,
    )
    texts = _read_parts(path, languages) if is_folder else _cut(path)
    digest = hashlib.sha256(b"".join(texts.values())).hexdigest()
    parts = Path(folder) / digest[:16]
    parts.mkdir(parents=True, exist_ok=True)
    for name, data in texts.items():
        with atomic_file(parts / name) as aside:
            aside.write_bytes(data)
    return parts


def _read_parts(folder, languages):
    texts = {}
    for name, stems in _STEMS.items():
        for language in languages or (None,):
            found = [
                path
                for path in sorted(Path(folder).iterdir())
                if path.name.split(".")[0] in stems
                and language in (None, *path.name.split(".")[1:2])
            ]
            kind = "" if language is None else f".{language}"
            check(
                len(found) == 1,
                f"`path` must hold one file {f'{kind} or '.join(stems)}{kind}.",
                path=str(folder),
                found=[path.name for path in found],
            )
            texts[name + (kind or ".txt")] = read_documents(found)[0]
    return texts


def _cut(path):
    data = read_documents([str(path)])[0]
    ends, start, total = {}, 0, 0.0
    for name, fraction in FRACTIONS.items():
        total += fraction
        place = round(total * len(data))
        line_end = data.find(b"\n", max(place - 1, 0)) + 1
        end = len(data) if line_end == 0 else line_end
        ends[name] = (start, end)
        start = end
    check(
        all(start < end for start, end in ends.values()),
        "`path` must have lines enough for three parts.",
        path=str(path),
        bytes=len(data),
    )
    return {
        f"{name}.txt": data[start:end] for name, (start, end) in ends.items()
    }

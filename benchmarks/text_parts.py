"""One text file as the three parts that a language model is trained with."""

import hashlib
from pathlib import Path

from keras_xf.checks import check
from keras_xf.data.text_files import read_documents
from keras_xf.files import atomic_file

# In the order of the file; the habit for enwik8.
FRACTIONS = {"train": 0.9, "validation": 0.05, "test": 0.05}


def split_text(path: str | Path, folder: str | Path) -> Path:
    """Writes the parts of a text, each from the beginning of a line on.

    Args:
        path: The text, plain, .gz or .xz.
        folder: Where to keep parts of texts.

    Returns:
        A folder inside, of `train.txt`, `validation.txt` and `test.txt`, whose
        name tells one text from another.

    Raises:
        ValueError: If the file cannot be read, or has too few lines.
    """
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
    parts = Path(folder) / hashlib.sha256(data).hexdigest()[:16]
    parts.mkdir(parents=True, exist_ok=True)
    for name, (start, end) in ends.items():
        with atomic_file(parts / f"{name}.txt") as aside:
            aside.write_bytes(data[start:end])
    return parts

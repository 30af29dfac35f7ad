"""Texts in two languages, line by line."""

from collections.abc import Sequence
from pathlib import Path

from keras_xf.checks import check
from keras_xf.data.text_files import read_documents


def read_lines(paths: Sequence[str | Path]) -> list[str]:
    """Reads the lines of text files, in order.

    A line ends with a line feed, and with nothing else: whatever Unicode takes
    for the end of a line may stand in one. A carriage return before it is
    taken away. Empty lines are lines.

    Args:
        paths: Files of UTF-8, plain, `.gz` or `.xz`.

    Returns:
        The lines without their ends.

    Raises:
        ValueError: If a file cannot be read, or a line is not UTF-8; names the
            file and the line.
    """
    lines = []
    for path, document in zip(paths, read_documents(paths), strict=True):
        lines += decode_lines(document, path)
    return lines


def read_parallel_lines(
    source_paths: Sequence[str | Path], target_paths: Sequence[str | Path]
) -> tuple[list[str], list[str]]:
    """Reads pairs of lines, each of one and the other language.

    Args:
        source_paths: Files as `read_lines` takes them.
        target_paths: As many files, whose lines belong to those of the former.

    Returns:
        Two lists of as many lines, empty ones among them.

    Raises:
        ValueError: If a file cannot be read, or two files do not have as many
            lines; names the files and the first line without a partner.
    """
    check(
        len(source_paths) == len(target_paths),
        "`source_paths` and `target_paths` must be as many.",
        source_paths=[str(path) for path in source_paths],
        target_paths=[str(path) for path in target_paths],
    )
    sources, targets = [], []
    for source_path, target_path in zip(
        source_paths, target_paths, strict=True
    ):
        source, target = read_lines([source_path]), read_lines([target_path])
        numbers = {str(source_path): len(source), str(target_path): len(target)}
        check(
            len(source) == len(target),
            "`source_paths` and `target_paths` must have as many lines.",
            lines=numbers,
            first_without_a_partner=min(numbers.values()) + 1,
        )
        sources += source
        targets += target
    return sources, targets


def decode_lines(document: bytes, path: str | Path) -> list[str]:
    """Cuts a document into lines as `read_lines` does.

    Args:
        document: Its bytes.
        path: Where it comes from, for the error message.

    Raises:
        ValueError: If a line is not UTF-8; names its number.
    """
    parts = document.split(b"\n")
    if not parts[-1]:
        parts.pop()
    lines = []
    for number, part in enumerate(parts, 1):
        try:
            lines.append(part.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            check(
                False,
                "`paths` must name files of UTF-8.",
                path=str(path),
                line=number,
                error=str(error),
            )
    return lines

"""Numbers in English and German words, a text that every machine can make."""

import zlib

from keras_xf.checks import check

SPLITS = ("train", "validation", "test")
# All numbers of four digits and less take part, and of five as many. One in
# forty is held out to validate on, and one to test.
_NUMBERS, _ALL = 100_000, 10_000
_TAKEN, _PARTS = 9, 40


def number_phrases(split: str) -> tuple[list[str], list[str]]:
    """Returns numbers as they are spelled in English, and in German.

    Which number belongs to which part depends on the number alone, and looks
    like chance. The words are those of the package num2words.

    Args:
        split: "train" (some 19,000), "validation" or "test" (some 500 each).

    Returns:
        Two lists of as many phrases, English and German.

    Raises:
        ValueError: If there is no such part, or num2words is not installed.
    """
    check(split in SPLITS, f"`split` must be one of {SPLITS}.", split=split)
    try:
        from num2words import num2words
    except ImportError:
        check(
            False,
            "`source_files` must not be empty: number phrases need num2words, "
            "pip install 'keras_xf[apps]'.",
        )
    numbers = [n for n in range(_NUMBERS) if _split_of(n) == split]
    return (
        [num2words(number, lang="en") for number in numbers],
        [num2words(number, lang="de") for number in numbers],
    )


def _split_of(number):
    draw = zlib.crc32(str(number).encode())
    if number >= _ALL and draw % _TAKEN:
        return None
    place = draw // _TAKEN % _PARTS
    return {0: "test", 1: "validation"}.get(place, "train")

r"""Translates a text, line by line.

Usage:

    python -m apps.translation.translate --run_dir=runs/numbers < numbers.en

    python -m apps.translation.translate --run_dir=runs/mine \
        --input=test.en --output=test.de --num_hypotheses=5

Without `--input` it reads the standard input, and without `--output` it writes
the standard output. Each line becomes a line, an empty one an empty one. With
`--num_hypotheses` above 1, or `--scores`, there are that many lines for each:
its number, a score and a translation, with tabs between them.
"""

import dataclasses
import sys
from collections.abc import Iterable

from apps.translation.decoding_options import DecodingOptions
from apps.translation.translator import load_translator
from keras_xf.checks import check
from keras_xf.data.parallel_text import decode_lines
from keras_xf.data.parallel_text import read_lines
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(DecodingOptions):
    """Options of the translation."""

    run_dir: str = option("Run directory of a translation model.")
    model_file: str | None = option(
        "A .keras file of the model, such as averaged.keras; model.keras of "
        "the run if none.",
        None,
    )
    input: str | None = option(
        "Text file, plain, .gz or .xz; the standard input if none.", None
    )
    output: str | None = option(
        "Where the translations go; the standard output if none.", None
    )
    num_hypotheses: int = option("Translations of a line.", 1)
    scores: bool = option(
        "Write numbers and scores of lines, too, as with several hypotheses.",
        False,
    )

    def __post_init__(self):
        DecodingOptions.__post_init__(self)
        check(
            0 < self.num_hypotheses <= self.num_beams,
            "`num_hypotheses` must be positive, and `num_beams` at most.",
            num_hypotheses=self.num_hypotheses,
            num_beams=self.num_beams,
        )


def translate(options: Options, lines: Iterable[str]) -> list[str]:
    """Translates lines.

    Args:
        options: The options.
        lines: Strings.

    Returns:
        The lines that are written.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
    """
    translator = load_translator(
        options.run_dir,
        options.model_file,
        num_hypotheses=options.num_hypotheses,
        **options.search,
    )
    found = translator(list(lines))
    if options.num_hypotheses == 1 and not options.scores:
        return [hypotheses[0].text for hypotheses in found]
    return [
        f"{number}\t{hypothesis.score:.4f}\t{hypothesis.text}"
        for number, hypotheses in enumerate(found, 1)
        for hypothesis in hypotheses
    ]


def main(options: Options) -> None:
    """Reads, translates and writes."""
    if options.input is None:
        lines = decode_lines(sys.stdin.buffer.read(), "standard input")
    else:
        lines = read_lines([options.input])
    text = "".join(f"{line}\n" for line in translate(options, lines))
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
        return
    with atomic_file(options.output) as aside:
        aside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    launch(Options, main)

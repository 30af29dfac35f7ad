r"""Measures a run's translations of held-out lines.

Usage:

    python -m apps.translation.evaluate --run_dir=runs/numbers

Prints one JSON object on stdout, and nothing else there: `bleu` and `chrf` of
sacrebleu with their signatures, `exact_match`, `lines`. Text is scored as it
is, with its case. With `--output` the translations are written, too, a line
each.
"""

import dataclasses
import functools
import json
from typing import Literal

from apps.training import RunDirectory
from apps.translation.decoding_options import DecodingOptions
from apps.translation.pairs import Pairs
from apps.translation.train import Options as TrainOptions
from apps.translation.translator import load_translator
from keras_xf import models
from keras_xf.checks import check
from keras_xf.data.parallel_text import read_parallel_lines
from keras_xf.files import atomic_file
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(DecodingOptions):
    """Options of the evaluation."""

    run_dir: str = option("Run directory of a translation model.")
    source_files: tuple[str, ...] = option(
        "Text files, plain, .gz or .xz; the run's test files if empty.", ()
    )
    target_files: tuple[str, ...] = option("Their translations.", ())
    model_file: str | None = option(
        "A .keras file of the model, such as averaged.keras; model.keras of "
        "the run if none.",
        None,
    )
    branch_weights: Literal["learned", "equal", "random"] = option(
        "Weighted_transformer: what branches weigh, as in the paper's table 3.",
        "learned",
    )
    branch_seed: int = option("Seed of random branch weights.", 0)
    tokenize: (
        Literal["13a", "intl", "char", "none", "zh", "ja-mecab"] | None
    ) = option(
        "How BLEU cuts lines; 13a, or char for numbers, which are one word, "
        "if none.",
        None,
    )
    max_lines: int | None = option("Only so many lines; all if none.", None)
    output: str | None = option("Where the translations go.", None)

    def __post_init__(self):
        DecodingOptions.__post_init__(self)
        check(
            len(self.source_files) == len(self.target_files),
            "`source_files` and `target_files` must be as many.",
            source_files=self.source_files,
            target_files=self.target_files,
        )
        check(
            self.max_lines is None or self.max_lines > 0,
            "`max_lines` must be positive.",
            max_lines=self.max_lines,
        )


def evaluate(options: Options) -> dict:
    """Translates the held-out lines and scores what comes out.

    Args:
        options: The options.

    Returns:
        What is printed.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
    """
    import sacrebleu

    pairs, is_text = _read(options)
    translate = load_translator(
        options.run_dir,
        options.model_file,
        change=functools.partial(_weigh, options),
        **options.search,
    )
    lines = [found[0].text for found in translate(pairs.sources)]
    if options.output is not None:
        with atomic_file(options.output) as aside:
            aside.write_text(
                "".join(f"{line}\n" for line in lines), encoding="utf-8"
            )
    tokenize = options.tokenize or ("13a" if is_text else "char")
    bleu = sacrebleu.metrics.BLEU(tokenize=tokenize)
    chrf = sacrebleu.metrics.CHRF()
    references = [pairs.targets]
    matches = sum(
        line == target
        for line, target in zip(lines, pairs.targets, strict=True)
    )
    return {
        "bleu": bleu.corpus_score(lines, references).score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf": chrf.corpus_score(lines, references).score,
        "chrf_signature": str(chrf.get_signature()),
        "exact_match": matches / len(lines),
        "lines": len(lines),
    }


def _weigh(options, model):
    if options.branch_weights != "learned":
        models.set_branch_weights(
            model, options.branch_weights, seed=options.branch_seed
        )


def _read(options):
    run = RunDirectory(options.run_dir)
    run.check_trained("translation model")
    train_options = load_options(TrainOptions, run.options)
    is_text = bool(options.source_files or train_options.source_files)
    if options.source_files:
        pairs = Pairs(
            *read_parallel_lines(options.source_files, options.target_files)
        )
    else:
        pairs = train_options.read("test")
        check(
            pairs is not None,
            "`source_files` must not be empty: the run has no test files.",
            source_files=options.source_files,
        )
    stop = options.max_lines
    return Pairs(pairs.sources[:stop], pairs.targets[:stop]), is_text


def main(options: Options) -> None:
    """Prints the score as JSON."""
    print(json.dumps(evaluate(options)))


if __name__ == "__main__":
    launch(Options, main)

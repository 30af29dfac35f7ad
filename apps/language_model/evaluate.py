r"""Measures how well a run's language model predicts held-out text.

Usage:

    python -m apps.language_model.evaluate --run_dir=runs/stdlib

Prints one JSON object on stdout, and nothing else there: `bits_per_byte`,
`bits_per_token`, `perplexity` (of tokens), `bytes`, `tokens`.
"""

import dataclasses
import json
import math

import keras

import keras_xf  # noqa: F401  (registers the layers that model.keras names)
from apps.language_model.corpus import Corpus
from apps.language_model.corpus import read_corpus
from apps.language_model.scoring import Score
from apps.language_model.scoring import score_corpus
from apps.language_model.train import Options as TrainOptions
from apps.training import RunDirectory
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option
from keras_xf.text import load_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    run_dir: str = option("Run directory of a language model.")
    files: tuple[str, ...] = option(
        "Text files, plain, .gz or .xz; the run's test files if empty.", ()
    )
    window_length: int | None = option(
        "Tokens the model sees at once; as in training if none.", None
    )
    stride: int | None = option(
        "Tokens from window to window: the smaller, the more context and the "
        "more work; half a window if none.",
        None,
    )
    batch_size: int = option("Windows at once.", 32)


def evaluate(options: Options) -> tuple[Score, Corpus]:
    """Scores the held-out text.

    Args:
        options: The options.

    Returns:
        The score and the text.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
    """
    run = RunDirectory(options.run_dir)
    for path in (run.options, run.model, run.path / "text"):
        check(
            path.exists(),
            "`run_dir` must hold a trained language model.",
            run_dir=str(run.path),
            missing=path.name,
        )
    train_options = load_options(TrainOptions, run.options)
    files = list(options.files) or train_options.files("test")
    check(
        files,
        "`files` must not be empty: the run has no test files.",
        files=options.files,
    )
    corpus = read_corpus(files, load_tokenizer(run.path / "text"))
    window_length = options.window_length or train_options.window_length
    stride = options.stride or max(1, window_length // 2)
    model = keras.saving.load_model(run.model, compile=False)
    score = score_corpus(
        model,
        corpus,
        window_length=window_length,
        stride=stride,
        batch_size=options.batch_size,
    )
    return score, corpus


def main(options: Options) -> None:
    """Prints the score as JSON."""
    score, _ = evaluate(options)
    result = {
        "bits_per_byte": score.bits_per_byte,
        "bits_per_token": score.bits_per_token,
        "perplexity": math.exp(score.nats / score.tokens),
        "bytes": score.bytes,
        "tokens": score.tokens,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    launch(Options, main)

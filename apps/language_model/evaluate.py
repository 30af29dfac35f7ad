r"""Measures how well a run's language model predicts held-out text.

Usage:

    python -m apps.language_model.evaluate --run_dir=runs/stdlib

Prints one JSON object on stdout, and nothing else there: `bits_per_byte`,
`bits_per_character`, `bits_per_token`, `perplexity` (of tokens), `bytes`,
`characters`, `tokens`.

With `--tokenizer=words` tokens are counted as papers on WikiText count them:
its words, `<unk>` among them, and one for each end of a line (245,569 in the
test text of WikiText-2). One more, which costs next to nothing, ends each file.
"""

import dataclasses
import json
import math

from apps.language_model.corpus import Corpus
from apps.language_model.corpus import read_corpus
from apps.language_model.scoring import Score
from apps.language_model.scoring import score_corpus
from apps.language_model.train import Options as TrainOptions
from apps.training import NonFiniteError
from apps.training import RunDirectory
from apps.training.model_file import load_model
from keras_xf import models
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option
from keras_xf.text import load_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the evaluation."""

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
    num_hashes: int | None = option(
        "Rounds of hashing of a reformer; as in training if none.", None
    )

    def __post_init__(self):
        for name in ("window_length", "stride", "batch_size", "num_hashes"):
            value = getattr(self, name)
            check(
                value is None or value > 0,
                f"`{name}` must be positive.",
                **{name: value},
            )


def evaluate(options: Options) -> tuple[Score, Corpus]:
    """Scores the held-out text.

    Args:
        options: The options.

    Returns:
        The score and the text.

    Raises:
        ValueError: If the run directory or a file is missing or wrong, or an
            option does not go with the model.
        NonFiniteError: If the score is infinite or no number.
    """
    run = RunDirectory(options.run_dir)
    run.check_trained("language model", "text")
    train_options = load_options(TrainOptions, run.options)
    files = list(options.files) or train_options.files("test")
    check(
        files,
        "`files` must not be empty: the run has no test files.",
        files=options.files,
    )
    window_length, stride = _window(options, train_options, run)
    corpus = read_corpus(
        files,
        load_tokenizer(run.path / "text"),
        flag="files" if options.files else "test_files",
    )
    score = score_corpus(
        _load_model(options, run),
        corpus,
        window_length=window_length,
        stride=stride,
        batch_size=options.batch_size,
    )
    for name in ("bits_per_byte", "bits_per_token", "perplexity"):
        if not math.isfinite(getattr(score, name)):
            raise NonFiniteError(
                f"The {name} of the model in {run.path} is not finite."
            )
    return score, corpus


def _window(options, train_options, run):
    """Returns length and stride of the windows."""
    window_length = options.window_length
    if window_length is None:
        window_length = train_options.window_length
    stride = options.stride
    if stride is None:
        stride = max(1, window_length // 2)
    check(
        stride <= window_length,
        "`stride` must not exceed `window_length`.",
        stride=stride,
        window_length=window_length,
    )
    max_length = run.read_model_json()["arguments"].get("max_length")
    check(
        max_length is None or window_length <= max_length,
        "`window_length` must not exceed the number of positions that the "
        "model has learned.",
        window_length=window_length,
        max_length=max_length,
    )
    return window_length, stride


def _load_model(options, run):
    """Returns the model, or a variant of it with the same weights."""
    model = load_model(run.model, "run_dir")
    if options.num_hashes is None:
        return model
    description = run.read_model_json()
    check(
        "num_hashes" in description["arguments"],
        "`num_hashes` must be none for a model that does not hash.",
        num_hashes=options.num_hashes,
        model=description["builder"],
    )
    description["arguments"]["num_hashes"] = options.num_hashes
    variant = models.build(description)
    variant.set_weights(model.get_weights())
    return variant


def main(options: Options) -> None:
    """Prints the score as JSON."""
    score, _ = evaluate(options)
    result = {
        "bits_per_byte": score.bits_per_byte,
        "bits_per_character": score.bits_per_character,
        "bits_per_token": score.bits_per_token,
        "perplexity": score.perplexity,
        "bytes": score.bytes,
        "characters": score.characters,
        "tokens": score.tokens,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    launch(Options, main)

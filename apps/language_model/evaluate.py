r"""Measures how well a run's language model predicts held-out text.

Usage:

    python -m apps.language_model.evaluate --run_dir=runs/stdlib

    python -m apps.language_model.evaluate --run_dir=runs/xl \
        --segment_length=64 --memory_length=640 --clamp_length=400

A Transformer-XL reads the text in order, in segments, with its memory
(`--method=stream`); all others see windows that move over the text
(`--method=sliding_window`), which with `--stride=1` is the exact and slow way
of models without a memory, and can be asked of a Transformer-XL too.

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
from typing import Literal

from apps.language_model.corpus import Corpus
from apps.language_model.corpus import read_corpus
from apps.language_model.scoring import Score
from apps.language_model.scoring import score_corpus
from apps.language_model.stream_options import StreamOptions
from apps.language_model.stream_scoring import score_streams
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
class Options(StreamOptions):
    """Options of the evaluation."""

    run_dir: str = option("Run directory of a language model.")
    files: tuple[str, ...] = option(
        "Text files, plain, .gz or .xz; the run's test files if empty.", ()
    )
    method: Literal["stream", "sliding_window"] | None = option(
        "How the text is read; stream for a transformer_xl and sliding_window "
        "for others if none.",
        None,
    )
    batch_size: int | None = option(
        "Rows of a stream, each of which begins with a blank memory, or "
        "windows at once; 10 and 32 if none.",
        None,
    )
    window_length: int | None = option(
        "Windows: tokens the model sees at once; as in training if none.", None
    )
    stride: int | None = option(
        "Windows: tokens from window to window: the smaller, the more context "
        "and the more work; half a window if none.",
        None,
    )
    num_hashes: int | None = option(
        "Rounds of hashing of a reformer; as in training if none.", None
    )
    jit_compile: bool = option("Use XLA.", False)

    def __post_init__(self):
        StreamOptions.__post_init__(self)
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
    method = _method(options, run)
    corpus = read_corpus(
        files,
        load_tokenizer(run.path / "text"),
        flag="files" if options.files else "test_files",
    )
    if method == "stream":
        score = score_streams(
            load_model(run.model, "run_dir"),
            corpus,
            **options.stream_settings(train_options),
            batch_size=options.batch_size or 10,
            jit_compile=options.jit_compile,
        )
    else:
        window_length, stride = _window(options, train_options, run)
        score = score_corpus(
            _load_model(options, train_options, run),
            corpus,
            window_length=window_length,
            stride=stride,
            batch_size=options.batch_size or 32,
            jit_compile=options.jit_compile,
        )
    for name in ("bits_per_byte", "bits_per_token", "perplexity"):
        if not math.isfinite(getattr(score, name)):
            raise NonFiniteError(
                f"The {name} of the model in {run.path} is not finite."
            )
    return score, corpus


def _method(options, run):
    """Returns how the text is read, which the other options have to suit."""
    builder = run.read_model_json()["builder"]
    has_memory = builder == "build_transformer_xl"
    method = options.method or ("stream" if has_memory else "sliding_window")
    check(
        has_memory or method == "sliding_window",
        "`method` must be sliding_window for a model without a memory.",
        method=method,
        model=builder,
    )
    check(
        has_memory or options.clamp_length is None,
        "`clamp_length` must be none for a model without relative positions.",
        clamp_length=options.clamp_length,
        model=builder,
    )
    others = {
        "stream": ("window_length", "stride", "num_hashes"),
        "sliding_window": (
            *("segment_length", "memory_length", "attention_window"),
        ),
    }
    for name in others[method]:
        value = getattr(options, name)
        check(
            value is None,
            f"`{name}` must be none where `method` is {method}.",
            **{name: value},
        )
    return method


def _window(options, train_options, run):
    """Returns length and stride of the windows."""
    window_length = options.window_length
    if window_length is None:
        window_length = train_options.train_segment
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


def _load_model(options, train_options, run):
    """Returns the model, or a variant of it with the same weights."""
    model = load_model(run.model, "run_dir")
    if "memory" in model.input:
        clamp_length = options.stream_settings(train_options)["clamp_length"]
        return models.transformer_xl_variant(model, clamp_length=clamp_length)
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

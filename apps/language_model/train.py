r"""Trains a language model on text files.

Usage:

    python -m apps.language_model.train --run_dir=runs/stdlib

    python -m apps.language_model.train --run_dir=runs/mine \
        --train_files=a.txt,b.txt.gz --validation_files=c.txt

The first learns from the source files of Python's own standard library, found
at run time. `--model=reformer` is for longer windows. With `--tokenizer=words`
the tokens are words and ends of lines instead of bytes. Options can also stand
in a file, one flag per line, such as
`--flagfile=apps/language_model/demo.flags`. The same command started again goes
on where it was cut off.
"""

import dataclasses
import functools

import keras
from absl import logging

from apps.language_model.architecture import ArchitectureOptions
from apps.language_model.corpus import CorpusOptions
from apps.language_model.corpus import make_corpus
from apps.language_model.corpus import read_corpus
from apps.language_model.corpus import read_documents
from apps.training import Result
from apps.training import RunDirectory
from apps.training import TrainingOptions
from apps.training import check_can_plot
from apps.training import fit
from apps.training import plot_learning_curve
from apps.training import prepare
from keras_xf.checks import check
from keras_xf.data.windows import ShuffledWindows
from keras_xf.data.windows import scored_windows
from keras_xf.launch import launch
from keras_xf.launch import option
from keras_xf.metrics import BitsPerToken


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions, ArchitectureOptions, CorpusOptions):
    """Options of the training."""

    # Data.
    window_length: int = option("Tokens of a training window.", 256)
    validation_tokens: int | None = option(
        "Validate on no more than the first so many tokens; all if none.",
        100_000,
    )

    def __post_init__(self):
        TrainingOptions.__post_init__(self)
        CorpusOptions.__post_init__(self)
        ArchitectureOptions.__post_init__(self)
        check(
            self.window_length > 0,
            "`window_length` must be positive.",
            window_length=self.window_length,
        )
        check(
            self.validation_tokens is None or self.validation_tokens > 0,
            "`validation_tokens` must be positive.",
            validation_tokens=self.validation_tokens,
        )


def train(options: Options) -> Result:
    """Trains, or goes on training, in the run directory.

    Args:
        options: The options.

    Returns:
        The result; the run directory holds all that it left.

    Raises:
        ValueError: If an option or a file is wrong, or the run directory is
            of another model or of other data.
    """
    check_can_plot(options.run_dir)
    prepare(options)
    documents = read_documents(options.files("train"), "train_files")
    tokenizer = options.make_tokenizer(documents)
    corpus = make_corpus(documents, tokenizer)
    check(
        len(corpus.token_ids) >= options.batch_size * options.window_length,
        "`train_files` must have `batch_size` windows of `window_length` "
        "tokens.",
        train_files=options.train_files,
        batch_size=options.batch_size,
        window_length=options.window_length,
        num_tokens=len(corpus.token_ids),
    )
    windows = ShuffledWindows(
        corpus.token_ids,
        length=options.window_length,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    logging.info(
        "training text: %d files, %d bytes, %d tokens of %d kinds, %d steps "
        "an epoch",
        len(corpus.documents),
        corpus.num_bytes,
        len(corpus.token_ids),
        tokenizer.vocabulary_size,
        windows.steps_per_epoch,
    )
    fingerprint = {
        "train_sha256": corpus.sha256,
        "window_length": options.window_length,
    }
    make_validation_set = None
    if validation_files := options.files("validation"):
        validation = read_corpus(
            validation_files, tokenizer, "validation_files"
        )
        make_validation_set = functools.partial(
            scored_windows,
            validation.token_ids[: options.validation_tokens],
            length=options.window_length,
            # Rows do not depend on each other, and these have no gradient.
            batch_size=4 * options.batch_size,
        )
        fingerprint["validation_sha256"] = validation.sha256
        fingerprint["validation_tokens"] = options.validation_tokens
    run = RunDirectory(options.run_dir)
    result = fit(
        options,
        model_json=options.describe(
            vocabulary_size=tokenizer.vocabulary_size,
            window_length=options.window_length,
            seed=options.seed,
        ),
        make_train_set=windows.dataset,
        make_validation_set=make_validation_set,
        loss={
            "logits": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        },
        make_metrics=lambda: {"logits": [BitsPerToken()]},
        # Counts tokens alike on one device and on many, unlike the loss.
        monitor="val_bits_per_token",
        data_fingerprint=fingerprint,
        write_files=lambda folder: tokenizer.save(folder / "text"),
    )
    plot_learning_curve(run.history, run.path / "learning_curve.png")
    logging.info(
        "%s after %d steps and %.0f seconds of training, in %s",
        result.stopped_because,
        result.step,
        result.training_seconds,
        run.path,
    )
    return result


if __name__ == "__main__":
    launch(Options, train)

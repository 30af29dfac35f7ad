r"""Trains a language model on text files.

Usage:

    python -m apps.language_model.train --run_dir=runs/stdlib

    python -m apps.language_model.train --run_dir=runs/mine \
        --train_files=a.txt,b.txt.gz --validation_files=c.txt

The first learns from the source files of Python's own standard library, found
at run time. `--model=reformer` is for longer windows; `--model=transformer_xl`
remembers what was before its segments. With `--tokenizer=words` the tokens are
words and ends of lines instead of bytes. Options can also stand in a file, one
flag per line, such as `--flagfile=apps/language_model/demo.flags`. The same
command started again goes on where it was cut off.
"""

import dataclasses

from absl import logging

from apps.language_model.architecture import ArchitectureOptions
from apps.language_model.corpus import CorpusOptions
from apps.language_model.corpus import make_corpus
from apps.language_model.corpus import read_corpus
from apps.language_model.corpus import read_documents
from apps.language_model.stream_training import train_on_streams
from apps.language_model.window_training import train_on_windows
from apps.training import Result
from apps.training import TrainingOptions
from apps.training import check_can_plot
from apps.training import fit
from apps.training import prepare
from apps.training import report_end
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions, ArchitectureOptions, CorpusOptions):
    """Options of the training."""

    # Data.
    window_length: int = option("Tokens of a training window.", 256)
    segment_length: int | None = option(
        "Transformer_xl: tokens of a row that a step trains on; window_length "
        "if none.",
        None,
    )
    eval_segment_length: int | None = option(
        "Transformer_xl: tokens of a row at once in validation; "
        "segment_length if none.",
        None,
    )
    eval_memory_length: int | None = option(
        "Transformer_xl: positions that each layer remembers in validation, "
        "and sees from each position; as many as training has with its segment "
        "but for the segment of validation, if none.",
        None,
    )
    clamp_length: int | None = option(
        "Transformer_xl: distances beyond it count as it in validation; no "
        "limit if none. Training has none.",
        None,
    )
    validation_tokens: int | None = option(
        "Validate on no more than the first so many tokens; all if none.",
        100_000,
    )

    def __post_init__(self):
        TrainingOptions.__post_init__(self)
        CorpusOptions.__post_init__(self)
        ArchitectureOptions.__post_init__(self)
        for name in (
            *("window_length", "segment_length", "eval_segment_length"),
            *("clamp_length", "validation_tokens"),
        ):
            value = getattr(self, name)
            check(
                value is None or value > 0,
                f"`{name}` must be positive.",
                **{name: value},
            )
        check(
            self.eval_memory_length is None or self.eval_memory_length >= 0,
            "`eval_memory_length` must not be negative.",
            eval_memory_length=self.eval_memory_length,
        )

    @property
    def train_segment(self) -> int:
        """Tokens of a row that a step trains on."""
        return self.segment_length or self.window_length

    @property
    def evaluation(self) -> dict:
        """How a Transformer-XL is validated.

        `segment_length`, `memory_length`, `attention_window` and
        `clamp_length`. The window is of the memory's length, as the authors
        have it, so that the segments' length does not matter.
        """
        segment_length = self.eval_segment_length or self.train_segment
        memory_length = self.eval_memory_length
        if memory_length is None:
            memory_length = self.memory_length
            if memory_length is None:
                memory_length = self.train_segment
            memory_length += self.train_segment - segment_length
        return {
            "segment_length": segment_length,
            "memory_length": max(0, memory_length),
            "attention_window": max(0, memory_length) or None,
            "clamp_length": self.clamp_length,
        }


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
    validation = None
    if files := options.files("validation"):
        validation = read_corpus(files, tokenizer, "validation_files")
    model_json = options.describe(
        vocabulary_size=tokenizer.vocabulary_size,
        window_length=options.train_segment,
        seed=options.seed,
    )
    if options.model == "transformer_xl":
        # What it is served with, unless told otherwise.
        model_json["evaluation"] = options.evaluation
        arguments = train_on_streams(options, corpus, validation, model_json)
    else:
        arguments = train_on_windows(options, corpus, validation, model_json)
    logging.info(
        "training text: %d files, %d bytes, %d tokens of %d kinds",
        len(corpus.documents),
        corpus.num_bytes,
        len(corpus.token_ids),
        tokenizer.vocabulary_size,
    )
    fingerprint = arguments.pop("data_fingerprint")
    fingerprint["train_sha256"] = corpus.sha256
    if validation is not None:
        fingerprint["validation_sha256"] = validation.sha256
        fingerprint["validation_tokens"] = options.validation_tokens
    result = fit(
        options,
        model_json=model_json,
        # Counts tokens alike on one device and on many, unlike the loss.
        monitor="val_bits_per_token",
        data_fingerprint=fingerprint,
        write_files=lambda folder: tokenizer.save(folder / "text"),
        **arguments,
    )
    report_end(options.run_dir, result)
    return result


if __name__ == "__main__":
    launch(Options, train)

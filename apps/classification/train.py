r"""Trains a Reformer to classify texts.

Usage:

    python -m apps.classification.train --run_dir=runs/packages

    python -m apps.classification.train --run_dir=runs/mine \
        --train_files=a.tsv,b.tsv.gz --validation_files=c.tsv

The first learns to tell which package of Python's own standard library, found
at run time, a source file belongs to. Each line of the files of the second is a
label, a tab and a text. Options can also stand in a file, one flag per line,
such as `--flagfile=apps/classification/demo.flags`. The same command started
again goes on where it was cut off.
"""

import dataclasses
import functools
from typing import Literal

import keras
import numpy as np
from absl import logging

from apps.classification.examples import ExampleOptions
from apps.classification.examples import class_ids
from apps.training import Result
from apps.training import TrainingOptions
from apps.training import check_can_plot
from apps.training import fit
from apps.training import prepare
from apps.training import report_end
from apps.training.activations import check_activation
from keras_xf.checks import check
from keras_xf.data.text_pieces import EvenPieces
from keras_xf.data.text_pieces import RandomPieces
from keras_xf.data.text_pieces import count_parts
from keras_xf.files import write_names
from keras_xf.launch import launch
from keras_xf.launch import option
from keras_xf.metrics import BitsPerToken
from keras_xf.text import ByteTokenizer

# In the run directory: the names of the classes.
CLASSES = "classes.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions, ExampleOptions):
    """Options of the training."""

    # Model.
    num_layers: int = option("Blocks of attention and feed-forward.", 2)
    hidden_dim: int = option("Width of each of the two streams.", 128)
    num_heads: int = option("Attention heads.", 4)
    intermediate_dim: int = option("Width inside the feed-forward.", 512)
    activation: str = option("Activation inside the feed-forward.", "gelu")
    dropout: float = option("Fraction dropped in training.", 0.1)
    attention: tuple[Literal["lsh", "chunked", "dense"], ...] = option(
        "Kinds of attention, layer by layer, over and over.",
        ("chunked", "lsh"),
    )
    chunk_length: int = option("Positions in a chunk.", 64)
    num_hashes: int = option("Rounds of hashing.", 1)
    feed_forward_chunk_length: int | None = option(
        "Positions that the feed-forward takes at once; all if none.", None
    )
    positions: Literal["axial", "learned"] = option(
        "How the model knows places in a window.", "axial"
    )
    pooling: Literal["mean", "first"] = option(
        "What is classified: the mean of all positions, or the first.", "mean"
    )
    reversible: bool = option(
        "Recompute activations instead of keeping them.", True
    )
    # Data.
    window_length: int = option(
        "Tokens that the model sees at once; longer texts are cut.", 512
    )
    validation_pieces: int | None = option(
        "Validate on no more than so many pieces of the texts; all if none.",
        1000,
    )

    def __post_init__(self):
        TrainingOptions.__post_init__(self)
        ExampleOptions.__post_init__(self)
        check_activation(self.activation)
        check(
            self.attention,
            "`attention` must not be empty.",
            attention=self.attention,
        )
        check(
            self.window_length >= 2,
            "`window_length` must be at least 2.",
            window_length=self.window_length,
        )
        check(
            self.validation_pieces is None or self.validation_pieces > 0,
            "`validation_pieces` must be positive.",
            validation_pieces=self.validation_pieces,
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
    tokenizer = ByteTokenizer()
    texts = options.read("train")
    classes = texts.classes
    check(
        len(classes) >= 2,
        "`train_files` must have texts of two labels or more.",
        train_files=options.train_files,
        labels=classes,
    )
    pieces = _train_pieces(options, texts, tokenizer)
    logging.info(
        "training texts: %d, of %d classes, %d bytes, %d steps an epoch",
        len(texts.texts),
        len(classes),
        texts.num_bytes,
        pieces.steps_per_epoch,
    )
    fingerprint = {
        "train_sha256": texts.sha256,
        "window_length": options.window_length,
    }
    make_validation_set = None
    if validation := options.read("validation"):
        even_pieces = EvenPieces(
            [tokenizer.encode_bytes(text) for text in validation.texts],
            class_ids(validation, classes, "validation_files"),
            length=options.window_length,
            max_pieces=options.validation_pieces,
        )
        make_validation_set = functools.partial(
            even_pieces.dataset,
            # Rows do not depend on each other, and these have no gradient.
            batch_size=4 * options.batch_size,
        )
        fingerprint["validation_sha256"] = validation.sha256
        fingerprint["validation_pieces"] = options.validation_pieces

    def write_files(folder):
        tokenizer.save(folder / "text")
        write_names(folder / CLASSES, classes)

    result = fit(
        options,
        model_json=_describe(options, tokenizer, classes),
        make_train_set=pieces.dataset,
        make_validation_set=make_validation_set,
        loss={
            "logits": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        },
        make_metrics=lambda: {
            "logits": [
                BitsPerToken(name="bits"),
                keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            ]
        },
        # Counts pieces alike on one device and on many, unlike the loss.
        monitor="val_bits",
        data_fingerprint=fingerprint,
        write_files=write_files,
    )
    report_end(options.run_dir, result, metric="accuracy")
    return result


def _train_pieces(options, texts, tokenizer):
    token_ids = [tokenizer.encode_bytes(text) for text in texts.texts]
    sizes = np.array([len(ids) for ids in token_ids])
    num_pieces = int(np.sum(count_parts(sizes, options.window_length)))
    check(
        num_pieces >= options.batch_size,
        "`train_files` must have `batch_size` pieces of up to `window_length` "
        "tokens.",
        train_files=options.train_files,
        batch_size=options.batch_size,
        window_length=options.window_length,
        num_pieces=num_pieces,
    )
    return RandomPieces(
        token_ids,
        texts.class_ids(texts.classes),
        length=options.window_length,
        batch_size=options.batch_size,
        seed=options.seed,
    )


def _describe(options, tokenizer, classes):
    names = (
        *("num_layers", "hidden_dim", "num_heads", "intermediate_dim"),
        *("activation", "dropout", "chunk_length", "num_hashes", "pooling"),
        *("feed_forward_chunk_length", "positions", "reversible", "seed"),
    )
    arguments = {name: getattr(options, name) for name in names}
    arguments["attention"] = list(options.attention)
    arguments["vocabulary_size"] = tokenizer.vocabulary_size
    arguments["num_classes"] = len(classes)
    arguments["max_length"] = options.window_length
    return {"builder": "build_reformer_encoder", "arguments": arguments}


if __name__ == "__main__":
    launch(Options, train)

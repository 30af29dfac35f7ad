"""Training on contiguous streams, for models with a memory."""

import functools
from typing import Any

import keras

from apps.language_model.corpus import Corpus
from keras_xf import models
from keras_xf.checks import check
from keras_xf.data.streams import ContiguousStreams
from keras_xf.data.streams import scored_streams

# What targets are for.
_OUTPUT = "log_probs"


def train_on_streams(
    options: Any, corpus: Corpus, validation: Corpus | None, model_json: dict
) -> dict:
    """Returns what `apps.training.fit` takes to train with a memory.

    The rows of a batch go on in the next batch, and so does the memory; at the
    end of an epoch all rows begin anew, with a blank memory. Validation has a
    memory of its own, which is blank at its beginning.

    Args:
        options: Options of the training of language models.
        corpus: The text to learn from.
        validation: The text to choose the best model by, if there is one.
        model_json: Name and arguments of the model's builder.

    Raises:
        ValueError: If the text is too short.
    """
    check(
        len(corpus.token_ids) >= options.batch_size * options.train_segment,
        "`train_files` must have `batch_size` segments of `segment_length` "
        "tokens.",
        train_files=options.train_files,
        batch_size=options.batch_size,
        segment_length=options.train_segment,
        num_tokens=len(corpus.token_ids),
    )
    streams = ContiguousStreams(
        corpus.token_ids,
        segment_length=options.train_segment,
        batch_size=options.batch_size,
        target=_OUTPUT,
    )
    evaluation = options.evaluation
    arguments = {
        "make_model": functools.partial(
            _make_model, model_json, options.batch_size, evaluation
        ),
        "make_train_set": streams.dataset,
        # The model has its own.
        "loss": None,
        "data_fingerprint": {
            "segment_length": options.train_segment,
            "evaluation": evaluation,
        },
    }
    if validation is not None:
        arguments["make_validation_set"] = functools.partial(
            scored_streams,
            validation.token_ids[: options.validation_tokens],
            segment_length=evaluation["segment_length"],
            batch_size=options.batch_size,
            target=_OUTPUT,
        )
    return arguments


def _make_model(model_json, batch_size, evaluation) -> keras.Model:
    inner = models.build(model_json)
    variant = models.transformer_xl_variant(
        inner,
        **{n: v for n, v in evaluation.items() if n != "segment_length"},
    )
    return models.with_memory(inner, batch_size, evaluation_model=variant)

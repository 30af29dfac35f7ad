"""Training on shuffled windows, for models without a memory."""

import functools
from typing import Any

import keras

from apps.language_model.corpus import Corpus
from keras_xf import models
from keras_xf.checks import check
from keras_xf.data.windows import ShuffledWindows
from keras_xf.data.windows import scored_windows
from keras_xf.metrics import BitsPerToken


def train_on_windows(
    options: Any, corpus: Corpus, validation: Corpus | None, model_json: dict
) -> dict:
    """Returns what `apps.training.fit` takes to train on windows.

    Args:
        options: Options of the training of language models.
        corpus: The text to learn from.
        validation: The text to choose the best model by, if there is one.
        model_json: Name and arguments of the model's builder.

    Raises:
        ValueError: If the text is too short.
    """
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
    arguments = {
        "make_train_set": windows.dataset,
        "loss": {
            "logits": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        },
        "make_metrics": lambda: {"logits": [BitsPerToken()]},
        "data_fingerprint": {"window_length": options.window_length},
    }
    if model_json["arguments"].get("cutoffs"):
        # It has its loss and its metrics itself.
        arguments["make_model"] = functools.partial(_make_model, model_json)
        arguments["loss"] = None
        del arguments["make_metrics"]
    if validation is not None:
        arguments["make_validation_set"] = functools.partial(
            scored_windows,
            validation.token_ids[: options.validation_tokens],
            length=options.window_length,
            # Rows do not depend on each other, and these have no gradient.
            batch_size=4 * options.batch_size,
        )
    return arguments


def _make_model(model_json) -> keras.Model:
    inner = models.build(model_json)
    return models.ScoredModel(inner, models.build_language_model_scorer(inner))

r"""Exports a run's model for TF Serving, of whatever kind it is.

Usage:

    python -m export.saved_model \
        --run_dir=runs/stdlib --export_dir=served/stdlib

Writes two served directories, each with the same new version number: `tokens`,
which takes and gives token ids, and `text`, which takes and gives strings.
Of an autoencoder of images, or of a prior over its codes, it is one, `images`.
Before they appear they are inspected, and run as a model server would. Beside
them stand the files that start a server, and a README.md with requests to it.
Of the run it reads `model.keras`, `model.json`, `text/` (or `source_text/` and
`target_text/`), of a classifier `classes.txt`, and of a prior that and
`autoencoder/` alone. Which kind the model is of, the builder in `model.json`
tells. A Transformer-XL is served with the memory that the run was evaluated
with, unless told otherwise; a translation model with beam search inside, the
branches of a Weighted Transformer folded; a prior with its autoencoder.
"""

import dataclasses
import json
from pathlib import Path

import keras
from absl import logging

from keras_xf import models
from keras_xf import serving
from keras_xf.checks import check
from keras_xf.files import read_names
from keras_xf.files import sha256
from keras_xf.launch import launch
from keras_xf.launch import option
from keras_xf.text import load_tokenizer

# What means something to models of some kinds alone, by their builders.
_LANGUAGE_MODEL_OPTIONS = {"max_new_tokens", "max_prompt_length", "top_k"}
_TRANSLATION = ("build_sequence_to_sequence", "build_weighted_transformer")
_SEARCH_OPTIONS = {"num_beams", "num_hypotheses", "length_penalty"}
_TRANSLATION_OPTIONS = _SEARCH_OPTIONS | {"max_new_tokens", "max_source_length"}
_TRANSFORMER_XL = "build_transformer_xl"
_TRANSFORMER_XL_OPTIONS = {"memory_length", "attention_window", "clamp_length"}
_CLASSIFIER = "build_reformer_encoder"
_CLASSIFIER_OPTIONS = {"max_text_length"}
_AUTOENCODER = "build_vq_vae"
_PRIORS = ("build_code_transformer", "build_pixel_cnn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the export."""

    # Files.
    run_dir: str = option(
        "The run directory of a language model, a translation model, a "
        "classifier, an autoencoder of images or a prior over its codes."
    )
    export_dir: str = option(
        "Receives tokens/<version> and text/<version>, or images/<version>."
    )
    model_file: str = option(
        "The model's file in the run directory.", "model.keras"
    )
    version: int | None = option(
        "Number of the version; the one after the highest if none.", None
    )
    # Limits of a language model.
    max_new_tokens: int = option("Most tokens that a request may get.", 128)
    max_prompt_length: int | None = option(
        "Longest prompt, in tokens; what the model has positions for if none.",
        None,
    )
    top_k: int | None = option(
        "Tokens that sampling draws from, the most probable; all if none.", None
    )
    # Search of a translation model.
    num_beams: int = option("Unfinished translations that are followed.", 5)
    num_hypotheses: int = option("Translations of each source.", 1)
    length_penalty: float = option(
        "How much longer translations are preferred; 0: not at all.", 0.6
    )
    max_source_length: int | None = option(
        "Longest source, in tokens; what the model has positions for if none.",
        None,
    )
    # A Transformer-XL's memory.
    memory_length: int | None = option(
        "Positions that each layer of a Transformer-XL remembers; as many as "
        "the run was evaluated with if none.",
        None,
    )
    attention_window: int | None = option(
        "Positions that each position of a Transformer-XL sees; as many as the "
        "run was evaluated with, or memory_length where that is given, if "
        "none.",
        None,
    )
    clamp_length: int | None = option(
        "Distances beyond it count as it in a Transformer-XL; what the run was "
        "evaluated with if none.",
        None,
    )
    # Limits of a classifier.
    max_text_length: int | None = option(
        "Longest text to classify, in tokens; any if none.", None
    )
    # Checks.
    verify: bool = option(
        "Whether to run the result as a server would before it is published: "
        "some hundred requests.",
        True,
    )


def export(options: Options) -> tuple[Path, ...]:
    """Publishes the next version, or the given one.

    Args:
        options: The options.

    Returns:
        The version's folders, for token ids and for text, or for images.

    Raises:
        ValueError: If the run directory lacks a file, or one that cannot be
            read; if the version exists, or the export directory cannot be
            written; if an option does not go with the model; if the result is
            not fit to be served.
    """
    run_dir = Path(options.run_dir)
    description = _read_description(run_dir)
    # What a server runs draws numbers only if a request asks for it.
    model = models.fix_rotations(_load_model(run_dir, options.model_file))
    _check_options(options, description)
    origin = {
        "model": description,
        "dtype_policies": _dtype_policies(model),
        "run_sha256": {
            name: sha256(run_dir / name)
            for name in ("model.json", options.model_file)
        },
    }
    limits = {
        "max_new_tokens": options.max_new_tokens,
        "top_k": options.top_k,
        "max_prompt_length": options.max_prompt_length,
    }
    if description["builder"] in _TRANSLATION:
        bundles = _translation_bundles(options, description, model)
    elif description["builder"] == _CLASSIFIER:
        bundles = serving.classifier_bundles(
            model,
            load_tokenizer(run_dir / "text"),
            _read_classes(run_dir),
            max_length=_read_max_length(description, run_dir),
            max_text_length=options.max_text_length,
        )
    elif description["builder"] == _AUTOENCODER:
        bundles = serving.image_bundles(model)
    elif description["builder"] in _PRIORS:
        bundles, autoencoder_origin = _prior_bundles(run_dir, model)
        origin |= autoencoder_origin
    elif description["builder"] == _TRANSFORMER_XL:
        bundles = serving.transformer_xl_bundles(
            model,
            load_tokenizer(run_dir / "text"),
            **_memory_options(options, description),
            **limits,
        )
    else:
        bundles = serving.language_model_bundles(
            models.build_step(description, model),
            load_tokenizer(run_dir / "text"),
            **limits,
        )
    folders = serving.publish(
        bundles,
        options.export_dir,
        version=options.version,
        run_as_served=options.verify,
        origin=origin,
    )
    for folder in folders.values():
        logging.info("published %s", folder)
    logging.info("how to serve it: %s", Path(options.export_dir) / "README.md")
    return tuple(folders.values())


def _read_description(run_dir):
    path = run_dir / "model.json"
    check(
        run_dir.is_dir(),
        "`run_dir` must be a directory.",
        run_dir=str(run_dir),
    )
    check(
        path.is_file(),
        "`run_dir` must hold a file model.json.",
        run_dir=str(run_dir),
    )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        check(
            False,
            "`model.json` must be JSON.",
            path=str(path),
            error=str(error),
        )
    check(
        isinstance(description, dict)
        and description.keys() >= {"builder", "arguments"},
        "`model.json` must hold a `builder` and its `arguments`.",
        path=str(path),
        content=description,
    )
    return description


def _check_options(options, description):
    """Refuses options that mean nothing to this kind of model."""
    own = {
        **dict.fromkeys(_TRANSLATION, _TRANSLATION_OPTIONS),
        _CLASSIFIER: _CLASSIFIER_OPTIONS,
        _TRANSFORMER_XL: _LANGUAGE_MODEL_OPTIONS | _TRANSFORMER_XL_OPTIONS,
        **dict.fromkeys((_AUTOENCODER, *_PRIORS), frozenset()),
    }.get(description["builder"], _LANGUAGE_MODEL_OPTIONS)
    others = (
        _CLASSIFIER_OPTIONS
        | _LANGUAGE_MODEL_OPTIONS
        | _TRANSFORMER_XL_OPTIONS
        | _TRANSLATION_OPTIONS
    ) - own
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        check(
            field.name not in others or value == field.default,
            f"`{field.name}` must be left out for a model of this kind.",
            builder=description["builder"],
            **{field.name: value},
        )


def _translation_bundles(options, description, model):
    run_dir = Path(options.run_dir)
    model = models.for_inference(description, model)
    names = ("source_text", "target_text")
    if (run_dir / "text").is_dir():
        # One object, as they are one: it goes into the assets once.
        tokenizers = 2 * [load_tokenizer(run_dir / "text")]
    else:
        tokenizers = [load_tokenizer(run_dir / name) for name in names]
    return serving.translation_bundles(
        models.build_step(description, model),
        *tokenizers,
        **{name: getattr(options, name) for name in _TRANSLATION_OPTIONS},
    )


def _prior_bundles(run_dir, prior):
    """The bundles of a prior, and what their manifests say of its images."""
    folder = run_dir / "autoencoder"
    description = _read_description(folder)
    check(
        description["builder"] == _AUTOENCODER,
        f"`autoencoder` must be of the builder {_AUTOENCODER}.",
        path=str(folder / "model.json"),
        builder=description["builder"],
    )
    classes = None
    if "class_ids" in prior.input:
        classes = _read_classes(run_dir)
    bundles = serving.image_bundles(
        _load_model(folder, "model.keras"), prior, classes
    )
    return bundles, {
        "autoencoder": description,
        "autoencoder_sha256": {
            name: sha256(folder / name)
            for name in ("model.json", "model.keras")
        },
    }


def _memory_options(options, description):
    """The options of a Transformer-XL, those of the run where none are given.

    Memory and window go together: the run's window means nothing to another
    memory.
    """
    evaluation = description.get("evaluation", {})
    given = {
        name: getattr(options, name)
        for name in _TRANSFORMER_XL_OPTIONS
        if getattr(options, name) is not None
    }
    if {"memory_length", "attention_window"} & set(given):
        names = {"clamp_length"}
    else:
        names = _TRANSFORMER_XL_OPTIONS
    return {n: evaluation[n] for n in names if n in evaluation} | given


def _read_classes(run_dir):
    path = run_dir / "classes.txt"
    check(
        path.is_file(),
        "`run_dir` must hold a file classes.txt.",
        run_dir=str(run_dir),
    )
    return read_names(path)


def _read_max_length(description, run_dir):
    arguments = description["arguments"]
    check(
        isinstance(arguments.get("max_length"), int),
        "`model.json` must hold the `max_length` of a classifier.",
        path=str(run_dir / "model.json"),
        arguments=arguments,
    )
    return arguments["max_length"]


def _load_model(run_dir, model_file):
    path = run_dir / model_file
    check(
        path.is_file(),
        f"`run_dir` must hold a file {model_file}.",
        run_dir=str(run_dir),
    )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras lets through whatever zip, JSON and HDF5 raise.
        check(
            False,
            f"`{model_file}` must be a Keras model that can be read.",
            path=str(path),
            error=f"{type(error).__name__}: {error}",
        )


def _dtype_policies(model):
    layers = [layer for layer in _layers(model) if layer.weights]
    return sorted({layer.dtype_policy.name for layer in layers})


def _layers(model):
    """All layers, those of models inside of the model among them."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


if __name__ == "__main__":
    launch(Options, export)

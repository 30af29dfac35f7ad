r"""Measures how well a run's classifier tells held-out texts apart.

Usage:

    python -m apps.classification.evaluate --run_dir=runs/packages

Prints one JSON object on stdout, and nothing else there: `accuracy`,
`balanced_accuracy` (the mean over the classes) and `bits_per_text`, where a
long text gets the mean of its pieces' log-probabilities; `piece_accuracy`;
`texts`, `pieces`, `classes`.
"""

import dataclasses
import json
import math

import keras_xf  # noqa: F401  (registers the layers that model.keras names)
from apps.classification.examples import class_ids
from apps.classification.examples import read_files
from apps.classification.scoring import Score
from apps.classification.scoring import score_texts
from apps.classification.train import CLASSES
from apps.classification.train import Options as TrainOptions
from apps.training import NonFiniteError
from apps.training import RunDirectory
from apps.training.model_file import load_model
from keras_xf.checks import check
from keras_xf.data.labeled_texts import LabeledTexts
from keras_xf.files import read_names
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option
from keras_xf.text import load_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the evaluation."""

    run_dir: str = option("Run directory of a classifier.")
    files: tuple[str, ...] = option(
        "Files of labels and texts, plain, .gz or .xz; the run's test files "
        "if empty.",
        (),
    )
    batch_size: int = option("Pieces at once.", 32)

    def __post_init__(self):
        check(
            self.batch_size > 0,
            "`batch_size` must be positive.",
            batch_size=self.batch_size,
        )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Held-out texts, and what the model says of them.

    Attributes:
        score: What the model says.
        texts: The texts.
        classes: The names of the classes.
        train_options: The options of the run.
    """

    score: Score
    texts: LabeledTexts
    classes: list[str]
    train_options: TrainOptions


def evaluate(options: Options) -> Evaluation:
    """Classifies the held-out texts.

    Args:
        options: The options.

    Returns:
        The score, and what belongs to it.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
        NonFiniteError: If the score is infinite or no number.
    """
    run = RunDirectory(options.run_dir)
    run.check_trained("classifier", "text", CLASSES)
    train_options = load_options(TrainOptions, run.options)
    if options.files:
        texts = read_files(options.files, "files")
    else:
        texts = train_options.read("test")
        check(
            texts is not None,
            "`files` must not be empty: the run has no test files.",
            files=options.files,
        )
    classes = read_names(run.path / CLASSES)
    tokenizer = load_tokenizer(run.path / "text")
    score = score_texts(
        load_model(run.model, "run_dir"),
        [tokenizer.encode_bytes(text) for text in texts.texts],
        class_ids(texts, classes, "files" if options.files else "test_files"),
        window_length=train_options.window_length,
        batch_size=options.batch_size,
    )
    if not math.isfinite(score.bits_per_text):
        raise NonFiniteError(
            f"The bits_per_text of the model in {run.path} is not finite."
        )
    return Evaluation(score, texts, classes, train_options)


def main(options: Options) -> None:
    """Prints the score as JSON."""
    evaluation = evaluate(options)
    names = ("accuracy", "balanced_accuracy", "bits_per_text", "piece_accuracy")
    result = {name: getattr(evaluation.score, name) for name in names}
    result["texts"] = len(evaluation.texts.texts)
    result["pieces"] = evaluation.score.pieces
    result["classes"] = len(evaluation.classes)
    print(json.dumps(result))


if __name__ == "__main__":
    launch(Options, main)

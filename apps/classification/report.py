r"""Shows how a run went: accuracy beside simple classifiers, confusions.

Usage:

    python -m apps.classification.report --run_dir=runs/packages

Prints the accuracy on held-out texts of the model, of naive Bayes over words
and of the most frequent label, and leaves them as `comparison.json` in the run
directory, with the learning curve as `learning_curve.png` and what was taken
for what as `confusion.png`.
"""

import json

import numpy as np

from apps.classification.baselines import guess_majority
from apps.classification.baselines import guess_naive_bayes
from apps.classification.confusion_plot import plot_confusion
from apps.classification.evaluate import Options
from apps.classification.evaluate import evaluate
from apps.training import RunDirectory
from apps.training import check_can_plot
from apps.training import plot_learning_curve
from keras_xf.callbacks.history_file import read_history
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import launch

BASELINES = {
    "naive Bayes": guess_naive_bayes,
    "majority": guess_majority,
}


def report(options: Options) -> dict:
    """Prints and writes the comparison, and draws the two pictures.

    Args:
        options: Those of `evaluate`.

    Returns:
        Fractions of the texts that are labeled right by `model` and each of
        `BASELINES`; `standard_error` of the model's; `texts`; and
        `training_seconds`.
    """
    check_can_plot(options.run_dir)
    run = RunDirectory(options.run_dir)
    run.check_trained("classifier", run.history.name)
    history = read_history(run.history)
    check(
        history,
        "`run_dir` must have a history.csv with a row.",
        run_dir=options.run_dir,
    )
    evaluation = evaluate(options)
    labels = np.array(evaluation.texts.labels)
    train = evaluation.train_options.read("train")
    accuracy = evaluation.score.accuracy
    comparison = {
        "model": accuracy,
        **{
            name: float(np.mean(guess(train, evaluation.texts) == labels))
            for name, guess in BASELINES.items()
        },
        "standard_error": (accuracy * (1 - accuracy) / len(labels)) ** 0.5,
        "texts": len(labels),
        "training_seconds": history[-1]["training_seconds"],
    }
    with atomic_file(run.path / "comparison.json") as aside:
        aside.write_text(json.dumps(comparison, indent=1) + "\n")
    print(_table(comparison))
    path = run.path / "learning_curve.png"
    plot_learning_curve(
        run.history,
        path,
        metric="accuracy",
        # Of whole texts, where the curve is of pieces.
        levels={
            f"{name}, on the test texts": comparison[name]
            for name in ("model", *BASELINES)
        },
    )
    print(f"Learning curve, of pieces: {path}")
    path = run.path / "confusion.png"
    plot_confusion(evaluation.score.confusion, evaluation.classes, path)
    print(f"What was taken for what: {path}")
    return comparison


def _table(comparison):
    lines = [
        f"Fraction of {comparison['texts']:,} held-out texts that are labeled "
        f"right, after {comparison['training_seconds']:.0f} seconds of training"
    ]
    rows = {"this model": comparison["model"]}
    rows |= {name: comparison[name] for name in BASELINES}
    for name, accuracy in sorted(rows.items(), key=lambda row: -row[1]):
        bar = "#" * round(40 * accuracy)
        lines.append(f"  {name:<11} {accuracy:5.3f}  {bar}")
    return "\n".join(lines)


if __name__ == "__main__":
    launch(Options, report)

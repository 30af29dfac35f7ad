"""The confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_xf.files import atomic_file


def plot_confusion(
    counts: np.ndarray, classes: Sequence[str], path: str | Path
) -> None:
    """Draws which class was taken for which.

    Needs matplotlib, which the extra `apps` installs.

    Args:
        counts: Numbers of texts, `(num_classes, num_classes)`: class, guess.
        classes: The names of the classes.
        path: The `.png` file.
    """
    # Here, since it takes a second and the rest does without it.
    from matplotlib.figure import Figure

    # Classes with many texts would outshine the others.
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    size = 2.5 + 0.4 * len(classes)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot(
        title="Numbers of texts", xlabel="taken for", ylabel="class"
    )
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=90)
    axes.set_yticks(places, classes)
    for row, column in np.argwhere(counts):
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=150)

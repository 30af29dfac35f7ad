"""The branch weights over a training, as a picture."""

from pathlib import Path

from keras_xf.callbacks.branch_weights_file import read_branch_weights
from keras_xf.files import atomic_file


def plot_branch_weights(weights: str | Path, path: str | Path) -> None:
    """Draws `kappa` and `alpha` of each block over the steps.

    Needs matplotlib, which the extra `apps` installs.

    Args:
        weights: What `BranchWeightsFile` wrote.
        path: The `.png` file.

    Raises:
        ValueError: If `weights` is another file.
    """
    # Here, since it takes a second and the rest of training does without it.
    from matplotlib.figure import Figure

    steps, blocks = read_branch_weights(weights)
    columns = len(blocks)
    figure = Figure(figsize=(1.5 + 2.2 * columns, 4.6), layout="constrained")
    grid = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    for place, (block, both) in enumerate(blocks.items()):
        for axes, (which, branches) in zip(
            grid[:, place], both.items(), strict=True
        ):
            for values in branches:
                # One point alone has no line.
                axes.plot(
                    steps,
                    values,
                    linewidth=1.2,
                    marker="" if steps[1:] else ".",
                )
            axes.axhline(
                1 / len(branches), color="0.6", linestyle=":", linewidth=1
            )
            axes.grid(alpha=0.3)
            if place == 0:
                axes.set_ylabel(which)
        grid[0, place].set_title(block.replace("_", " "), fontsize=9)
        grid[1, place].set_xlabel("training step", fontsize=9)
    figure.suptitle("What each branch weighs; dotted: equal shares")
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=110)

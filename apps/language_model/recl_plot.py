"""Losses after contexts, and effective context lengths, as a picture."""

from pathlib import Path

from keras_xf.files import atomic_file


def plot_recl(comparison: dict, path: str | Path) -> None:
    """Draws what each model gains from context, and where its gain ends.

    Needs matplotlib, which the extra `apps` installs.

    Args:
        comparison: What `recl.compare` returns.
        path: The `.png` file.
    """
    # Here, since it takes a second and scoring does without it.
    from matplotlib.figure import Figure

    models = comparison["models"]
    names = [Path(model["run_dir"]).name for model in models]
    # Not `pyplot`, whose windows and state a program should not touch.
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    curves, bars = figure.subplots(1, 2)
    curves.set(
        title="Loss after a context",
        xlabel="tokens of context",
        ylabel="nats per token",
    )
    for name, model in zip(names, models, strict=True):
        curves.plot(
            comparison["contexts"], model["losses"], marker=".", label=name
        )
    bars.set(
        title="Relative effective context length",
        xlabel="fraction r of the hardest positions",
        ylabel="tokens",
    )
    tops = list(models[0]["recl"])
    width = 0.8 / len(models)
    for place, (name, model) in enumerate(zip(names, models, strict=True)):
        found = list(model["recl"].values())
        drawn = bars.bar(
            [column + place * width for column in range(len(tops))],
            [length["length"] for length in found],
            width,
            label=name,
        )
        # No longer contexts were there.
        labels = [
            f"{'≥ ' * length['is_limit']}{length['length']}" for length in found
        ]
        bars.bar_label(drawn, labels)
    middle = 0.4 - width / 2
    bars.set_xticks([column + middle for column in range(len(tops))], tops)
    for axes in (curves, bars):
        axes.grid(alpha=0.3)
    bars.set_axisbelow(True)
    # One for both, where it hides nothing.
    handles, labels = curves.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(models)
    )
    with atomic_file(path) as aside:
        figure.savefig(aside, dpi=150)

"""Tests of apps.training.learning_curve."""

import pytest

from apps.training import plot_learning_curve

matplotlib_image = pytest.importorskip("matplotlib.image")


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: titles and lines of each picture."""
    from matplotlib import figure

    pictures = []
    save = figure.Figure.savefig

    def note(self, *args, **kwargs):
        (axes,) = self.axes
        lines = {
            line.get_label(): list(
                zip(line.get_xdata(), line.get_ydata(), strict=True)
            )
            for line in axes.get_lines()
        }
        titles = (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
        pictures.append((titles, lines))
        save(self, *args, **kwargs)

    monkeypatch.setattr(figure.Figure, "savefig", note)
    return pictures


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_bits_are_drawn_where_there_are_some(tmp_path, drawn):
    history = write(
        tmp_path / "history.csv",
        "step,loss,bits_per_byte,val_bits_per_byte",
        "10,2.0,3.0,4.0",
        "20,1.0,2.0,",
    )
    plot_learning_curve(history, tmp_path / "curve.png", levels={"gzip": 2.5})
    assert drawn == [
        (
            ("Learning curve", "training step", "bits per byte"),
            {
                "training": [(10, 3.0), (20, 2.0)],
                "validation": [(10, 4.0)],
                # From edge to edge.
                "gzip": [(0, 2.5), (1, 2.5)],
            },
        )
    ]
    height, width, _ = matplotlib_image.imread(tmp_path / "curve.png").shape
    assert (height, width) == (675, 1050)


def test_else_the_loss_or_what_is_asked_for(tmp_path, drawn):
    history = write(tmp_path / "history.csv", "step,loss,accuracy", "5,2.0,0.5")
    plot_learning_curve(history, tmp_path / "loss.png")
    plot_learning_curve(history, tmp_path / "other.png", metric="accuracy")
    assert [titles[2] for titles, _ in drawn] == ["loss", "accuracy"]
    assert [lines for _, lines in drawn] == [
        {"training": [(5, 2.0)]},
        {"training": [(5, 0.5)]},
    ]


def test_a_column_that_is_not_there_is_named(tmp_path):
    history = write(tmp_path / "history.csv", "step,loss", "5,2.0")
    with pytest.raises(ValueError) as error:
        plot_learning_curve(history, tmp_path / "curve.png", metric="bits")
    assert str(error.value) == (
        "`metric` must be a column of the history. "
        "Received: metric='bits', columns=['step', 'loss']."
    )
    assert not (tmp_path / "curve.png").exists()

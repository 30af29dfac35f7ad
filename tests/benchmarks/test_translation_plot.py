"""Tests of benchmarks.translation_plot."""

import pytest

from benchmarks import translation_plot


def test_draws_what_was_measured(tmp_path):
    runs = []
    for name in ("translation_one_0-12ab", "translation_two_0-34cd"):
        runs.append(tmp_path / name)
        runs[-1].mkdir()
        (runs[-1] / "history.csv").write_text(
            "step,val_bits_per_token,training_seconds\n5,3.5,10.5\n10,,21.0\n"
        )
        (runs[-1] / "bleu.csv").write_text(
            "step,training_seconds,bleu\n5,10.5,20.0\n10,21.0,30.0\n"
        )
    options = translation_plot.Options(
        run_dirs=tuple(map(str, runs)), plot=str(tmp_path / "plot.png")
    )
    translation_plot.draw(options)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    (runs[1] / "bleu.csv").unlink()
    (tmp_path / "plot.png").unlink()
    with pytest.raises(ValueError) as error:
        translation_plot.draw(options)
    assert str(error.value) == (
        "`run_dirs` must be measured: each must have a bleu.csv. Received: "
        f"run_dir={str(runs[1])!r}."
    )
    assert not (tmp_path / "plot.png").exists()

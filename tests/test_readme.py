"""Tests of what the README shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    return code


def test_example_trains_and_exports(example, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    losses = [
        float(loss) for loss in re.findall(r"loss: ([\d.]+)", process.stdout)
    ]
    assert losses[-1] < losses[0]
    served = tf.saved_model.load(tmp_path / "served" / "1")
    assert served.serve(tf.zeros((2, 7), tf.int32)).shape == (2, 7, 256)


def test_example_has_fifteen_lines(example):
    assert len([line for line in example.splitlines() if line]) == 15


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"[A-Z]+_[A-Z]+|TODO|FIXME", README)


def test_commands_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"make ([a-z-]+)", README):
        assert target in targets
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists()
    for path in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / path).exists(), path

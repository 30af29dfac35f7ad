"""Tests of what the README shows."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.data.token_pairs import BucketedPairs
from tests import recorded_arrays
from tests.convert.reformers import config_of
from tests.recorded_arrays import assert_close
from tests.recorded_arrays import under

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


EXAMPLE, CONVERSION, STREAMS, TRANSLATION, IMAGES = re.findall(
    r"```python\n(.*?)```", README, re.S
)


def test_example_trains_and_exports(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", EXAMPLE],
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


def test_example_has_fifteen_lines():
    assert len([line for line in EXAMPLE.splitlines() if line]) == 15


def test_conversion_gives_the_peers_logits():
    arrays = under(recorded_arrays.load("huggingface_reformer"), "causal")
    # What is no longer than a chunk is not hashed.
    expected = under(arrays, "3")
    weights = under(arrays, "weights")
    names = {
        "model": SimpleNamespace(
            config=SimpleNamespace(to_dict=lambda: config_of(arrays)),
            state_dict=lambda: {
                name: tf.constant(array) for name, array in weights.items()
            },
        ),
        "token_ids": expected["token_ids"],
        "length": expected["length"],
    }
    exec(CONVERSION, names)
    is_real = np.arange(3) < expected["length"][:, None]
    assert_close(names["logits"][is_real], expected["logits"][is_real])


def test_streams_train_with_their_memory():
    rising = np.arange(16 * 64 * 3) % 7 + 5
    names = {"token_ids": rising}
    exec(STREAMS, names)
    memory, length = names["stream_model"].memory_variables
    np.testing.assert_array_equal(length, [64] * 16)
    assert np.all(np.any(memory, axis=(1, 2, 3)))


def test_images_come_back_from_codes():
    images = np.random.default_rng(0).random((4, 28, 28, 1), "float32")
    names = {"images": images}
    exec(IMAGES, names)
    assert names["codes"]["code_ids"].shape == (4, 7, 7)
    assert names["again"].shape == images.shape
    losses = names["model"].history.history["loss"]
    assert losses[-1] < losses[0]


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


# Keras says so of every data set.
@pytest.mark.filterwarnings("ignore:.*shuffle=True")
def test_translation_trains_and_translates():
    random = np.random.default_rng(0)
    ids = [random.integers(5, 50, length) for length in (3, 4, 2, 5)]
    pairs = BucketedPairs(ids, ids, batch_tokens=16, buckets=(8,), seed=0)
    names = {
        "batches": pairs.dataset(),
        "source_ids": np.array([[7, 8, 9], [5, 6, 0]]),
        "source_length": np.array([3, 2]),
    }
    # One step is as good as ten thousand.
    text = TRANSLATION.replace(
        "steps_per_epoch=1000, epochs=10", "steps_per_epoch=1, verbose=0"
    ).replace("max_new_tokens=64", "max_new_tokens=3")
    assert text.count("=1, verbose=0") == text.count("max_new_tokens=3") == 1
    exec(text, names)
    assert names["found"]["token_ids"].shape == (2, 1, 3)
    assert names["model"].optimizer.iterations == 1

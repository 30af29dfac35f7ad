"""Tests of benchmarks.index_collapse, on a few patches and bytes."""

import dataclasses
import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import collapse_data
from benchmarks import index_collapse
from benchmarks import index_collapse_plot
from benchmarks.collapse_models import Autoencoder
from benchmarks.index_collapse import Options
from benchmarks.results import append_results
from benchmarks.results import read_results

TEXT = b"".join(b"%d of them. " % number for number in range(400))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return str(path)


def write_images(path, images):
    with tarfile.open(path, "w:xz") as archive:
        for number, image in enumerate(images):
            data = tf.io.encode_png(image).numpy()
            member = tarfile.TarInfo(f"train/cat/{number}.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        archive.addfile(tarfile.TarInfo("train/README"), io.BytesIO())
    return str(path)


def tiny(text, tmp_path, **kwargs):
    return Options(
        text=text,
        results=str(tmp_path / "results.jsonl"),
        **{
            "train_steps": 4,
            "judgements": 2,
            "batch_size": 8,
            "test_vectors": 64,
            "xla": False,
            **kwargs,
        },
    )


def test_patches_are_windows_of_images(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 6, 5, 3), np.uint8)
    held_out = random.integers(0, 256, (2, 6, 5, 3), np.uint8)
    data = collapse_data.read_patches(
        write_images(tmp_path / "train.tar.xz", images),
        write_images(tmp_path / "test.tar.xz", held_out),
        4,
    )
    np.testing.assert_allclose(data.variance, (images / 255).var(), rtol=1e-6)
    for source, is_held_out in ((images, False), (held_out, True)):
        patches = data.draw(200, 1, held_out=is_held_out)
        assert patches.shape == (200, 4, 4, 3)
        expected = {
            image[y : y + 4, x : x + 4].tobytes()
            for image in source
            for y in range(3)
            for x in range(2)
        }
        assert {patch.tobytes() for patch in patches} == expected


def test_runs_are_windows_of_a_text(text):
    data = collapse_data.read_bytes(text, 4)
    cut = round(0.9 * len(TEXT))
    for part, is_held_out in ((TEXT[:cut], False), (TEXT[cut:], True)):
        runs = data.draw(50, 1, held_out=is_held_out)
        assert all(run.tobytes() in part for run in runs)
    np.testing.assert_array_equal(data.draw(50, 3), data.draw(50, 3))
    assert np.any(data.draw(50, 3) != data.draw(50, 4))


def test_images_of_several_sizes_are_refused(tmp_path):
    images = [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]
    path = write_images(tmp_path / "images.tar.xz", images)
    with pytest.raises(ValueError, match="must hold images of one size"):
        collapse_data.read_patches(path, path, 4)


def test_codes_are_counted_jointly():
    codes = np.repeat([5, 9, 16_383], [4, 2, 2]).astype("int32")

    def judge_batch(batch):
        return tf.constant(codes), 0.5, 0.25

    figures = index_collapse.judge(judge_batch, np.zeros((8, 4), np.uint8))
    p = np.array([0.5, 0.25, 0.25])
    expected = {
        "active_fraction": 3 / 2**14,
        "perplexity": np.exp(-np.sum(p * np.log(p))),
        "loss": 0.5,
        "accuracy": 0.25,
    }
    assert figures.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(figures[name], value, rtol=1e-6)


def test_what_is_recorded_is_not_run_again(text, tmp_path, capsys):
    options = tiny(text, tmp_path, bottlenecks=("dvq_7_sliced",))
    index_collapse.run(options)
    index_collapse.run(options)
    (record,) = read_results(options.results)
    assert [row["step"] for row in record["history"]] == [2, 4]
    both = dataclasses.replace(
        options, bottlenecks=("dvq_7_sliced", "semantic_hashing")
    )
    index_collapse.run(both)
    records = read_results(options.results)
    assert [r["bottleneck"] for r in records] == [
        "dvq_7_sliced",
        "semantic_hashing",
    ]
    plot = tmp_path / "plot.png"
    index_collapse_plot.draw(
        index_collapse_plot.Options(results=options.results, plot=str(plot))
    )
    assert plot.stat().st_size > 1000
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "bytes"
    assert table[4].startswith("| dvq 7 sliced | ")
    history = records[0]["history"]
    bits = f"{history[-1]['loss'] / np.log(2):.3f}"
    assert table[4].split(" | ")[7] == bits


def test_records_of_other_options_are_not_told(text, tmp_path, capsys):
    options = tiny(text, tmp_path)
    row = {"seconds": 1.0, "active_fraction": 0.5}
    row |= {"perplexity": 2.0, "loss": 1.0, "accuracy": 0.5}

    def record(bottleneck, options):
        return {
            "data": "bytes",
            "bottleneck": bottleneck,
            "task": index_collapse._fingerprint(
                options, "bytes", index_collapse.LENGTH
            ),
            "history": [row | {"step": options.train_steps}],
        }

    others = [
        dataclasses.replace(options, seed=1),
        dataclasses.replace(options, xla=True),
    ]
    append_results(
        options.results,
        [
            record("vq", options),
            *(record("vq_ema", other) for other in others),
            record("dvq_2_sliced", dataclasses.replace(options, train_steps=2)),
        ],
    )
    index_collapse_plot.draw(
        index_collapse_plot.Options(
            results=options.results, plot=str(tmp_path / "plot.png")
        )
    )
    table = capsys.readouterr().out.splitlines()[4:]
    assert [line.split(" | ")[0] for line in table if line] == [
        "| vq",
        "| dvq 2 sliced",
    ]


def test_a_run_ends_when_its_time_is_over(text, tmp_path):
    options = tiny(text, tmp_path, max_seconds=1e-9, train_steps=64)
    data = collapse_data.read_bytes(text, options.run_length)
    history = index_collapse.train(data, "semantic_hashing", options)
    # The first step is not timed.
    assert [row["step"] for row in history] == [2]


def test_all_bottlenecks_learn_from_patches():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 8, 8, 3), np.uint8)
    data = collapse_data.Patches(images, images, 8)
    inputs = tf.constant(data.draw(4, 0))
    for name in index_collapse.BOTTLENECKS:
        model = Autoencoder(data, name, 10)
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = model.loss_of(inputs, outputs) + sum(model.losses)
        encoder = model.encoder.trainable_variables[0].value
        assert np.any(tape.gradient(loss, encoder)), name
        codes, judged, _ = model.judge(inputs)
        assert np.all((codes.numpy() >= 0) & (codes.numpy() < 2**14))
        # Of what inference returns.
        scaled = inputs.numpy() / 255 - 0.5
        expected = np.mean((model(inputs) - scaled) ** 2) / data.variance
        np.testing.assert_allclose(judged, expected, rtol=1e-4)


def test_rejects_images_without_others():
    with pytest.raises(ValueError, match="must be given together"):
        Options(train_images="train.tar")
    with pytest.raises(ValueError, match="must be given"):
        Options()


@pytest.mark.parametrize("number", [0, 8193])
def test_rejects_vectors_that_make_no_batches(number):
    with pytest.raises(ValueError) as error:
        Options(text="a", test_vectors=number)
    assert str(error.value) == (
        "`test_vectors` must be positive, and a multiple of 4096 where they "
        f"are 8192 or more. Received: test_vectors={number}."
    )

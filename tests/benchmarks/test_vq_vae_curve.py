"""Tests of benchmarks.vq_vae_curve, and of our worker."""

import importlib
import io
import json
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import contestant
from benchmarks import vq_vae_curve
from benchmarks.cifar10 import read_cifar10
from benchmarks.results import append_results
from benchmarks.vq_vae_curve import Options

WORKERS = ("vq_vae_training", "keras_vq_vae")


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.syspath_prepend(str(contestant.WORKERS))
    yield [importlib.import_module(name) for name in WORKERS]
    for name in WORKERS:
        sys.modules.pop(name)


def test_first_weights_are_as_wide_as_sonnets(workers):
    training, _ = workers
    weights = training.initial_weights(0)
    kernel = weights["encoder/middle"]
    assert kernel.shape == (3, 3, 128, 128)
    # Of a normal distribution cut off at 2.
    scaled = kernel * np.sqrt(9 * 128)
    assert 1.99 < np.abs(scaled).max() <= 2.0001
    np.testing.assert_allclose(scaled.std(), 0.8796, rtol=0.01)
    assert weights["decoder/doubling_1"].shape == (4, 4, 64, 128)
    assert np.abs(weights["codes"]).max() <= np.sqrt(3 / 64)
    again = training.initial_weights(0)["decoder/doubling_0"]
    np.testing.assert_array_equal(weights["decoder/doubling_0"], again)


def test_batches_are_passes_in_an_order_of_their_own(workers):
    training, _ = workers
    images = np.arange(10, dtype="uint8").reshape(10, 1, 1, 1)
    batches = [
        np.rint(255 * training.batch(images, step, 3, seed=4)).ravel()
        for step in range(6)
    ]
    passes = np.reshape(batches, (2, 9))
    for each in passes:
        assert len(set(each)) == 9
    assert np.any(passes[0] != passes[1])


def test_what_is_cut_off_goes_on_as_if_unbroken(workers, tmp_path, monkeypatch):
    training, _ = workers
    monkeypatch.setattr(training, "TOLD", 2)
    images = np.arange(16, dtype="uint8").reshape(8, 2, 1, 1)
    np.save(tmp_path / "images.npy", images)

    def make(settings, weights, variance):
        state = tf.Variable(0.0)

        def step(batch):
            state.assign(0.5 * state + tf.reduce_sum(batch))
            return state / variance, 2.0

        return step, lambda: [state], {"tensorflow": "1"}

    def train(name, steps):
        settings = {
            "run_dir": str(tmp_path / name),
            "images": str(tmp_path / "images.npy"),
            "variance": 0.5,
            "seed": 0,
            "batch_size": 2,
            "steps": steps,
        }
        path = tmp_path / name / "settings.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(settings))
        monkeypatch.setattr(sys, "argv", ["worker", str(path)])
        training.train(make)
        lines = (tmp_path / name / "curve.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    unbroken = train("unbroken", 8)
    train("broken", 4)
    # Killed between line and state, and then within a line.
    with (tmp_path / "broken" / "curve.jsonl").open("a") as file:
        file.write('{"step": 6, "reconstruction_error": 0}\n{"step": 8, "rec')
    broken = train("broken", 8)
    keys = ("step", "reconstruction_error", "perplexity")
    assert [[line[key] for key in keys] for line in broken] == [
        [line[key] for key in keys] for line in unbroken
    ]
    assert [line["step"] for line in broken] == [2, 4, 6, 8]
    seconds = [line["processor_seconds"] for line in broken]
    assert seconds == sorted(seconds)


def test_our_step_begins_with_the_weights_and_learns(workers):
    training, worker = workers
    weights = training.initial_weights(3)
    settings = {
        "options": {"ema_init": "ones"},
        "learning_rate": 1e-3,
        "xla": False,
        "seed": 3,
    }
    step, variables, versions = worker.make(settings, weights, 0.25)
    kernels = [v for v in variables() if v.path.endswith("/kernel")]
    given = {
        name.replace("/", "_"): values
        for name, values in weights.items()
        if name != "codes"
    }
    assert len(kernels) == len(given)
    for kernel in kernels:
        np.testing.assert_array_equal(kernel, given.pop(kernel.path[:-7]))
    assert not given
    images = np.random.default_rng(0).random((2, 32, 32, 3)).astype("float32")
    errors, perplexities = zip(*(step(images) for _ in range(3)), strict=True)
    assert errors[2] < errors[0]
    # 128 codes are chosen.
    assert all(1 <= value <= 128 for value in perplexities)
    assert set(versions) == {"tensorflow", "keras"}


def test_archives_are_decoded_once(tmp_path):
    archive, cache = tmp_path / "images.tar.xz", tmp_path / "new"

    def write(*members):
        with tarfile.open(archive, "w:xz") as file:
            for name, value in members:
                image = np.full((8, 8, 3), value, "uint8")
                content = tf.io.encode_jpeg(image).numpy()
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))

    write(("train/b/1.jpg", 200), ("train/a/1.jpg", 10))
    path = read_cifar10(archive, cache)
    images = np.load(path)
    assert images.shape == (2, 8, 8, 3)
    # In the order of names.
    np.testing.assert_allclose(images.mean((1, 2, 3)), [10, 200], atol=2)
    time = path.stat().st_mtime_ns
    assert read_cifar10(archive, cache) == path
    assert path.stat().st_mtime_ns == time
    write(("train/a/1.jpg", 90))
    assert len(np.load(read_cifar10(archive, cache))) == 1


def record(contestant, *curve, **settings):
    keys = ("step", "reconstruction_error", "perplexity")
    return {
        "settings": {"contestant": contestant, **settings},
        "curve": [dict(zip(keys, row, strict=True)) for row in curve],
    }


def test_the_latest_of_each_is_told_and_drawn(tmp_path, capsys):
    results, plot = tmp_path / "results.jsonl", tmp_path / "plot.png"
    append_results(
        results,
        [
            record("sonnet", (1000, 0.5, 3.0)),
            record("sonnet", (1000, 0.11, 70.25), (1500, 0.1, 90.0)),
            record("ones", (1000, 0.1, 80.0)),
        ],
    )
    vq_vae_curve.compare(Options(results=str(results), plot=str(plot)))
    assert capsys.readouterr().out == (
        "| error, perplexity | 1000 | 1500 |\n"
        "|---|---|---|\n"
        "| ones | 0.1000, 80.0 |  |\n"
        "| sonnet | 0.1100, 70.2 | 0.1000, 90.0 |\n"
        "| published | 0.1050, 71.8 |  |\n"
    )
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_records_of_other_trainings_are_not_told(tmp_path):
    results = tmp_path / "results.jsonl"
    same = {"steps": 5000, "seed": 0, "xla": False, "run_dir": "a"}
    append_results(
        results,
        [
            record("ones", (1000, 0.1, 80.0), **same),
            record("zero_debias", (1000, 0.1, 80.0), **same),
            record("ones", (1000, 0.2, 70.0), **{**same, "seed": 1}),
            record("sonnet", (1000, 0.3, 60.0), **{**same, "run_dir": "b"}),
        ],
    )
    records = vq_vae_curve.latest_records(results)
    assert [
        (each["settings"]["contestant"], each["settings"]["seed"])
        for each in records
    ] == [("ones", 0), ("zero_debias", 0), ("sonnet", 0)]


def test_a_record_is_found_wherever_it_was_made(tmp_path):
    results = tmp_path / "results.jsonl"
    settings = vq_vae_curve._settings("ones", Options(), "/a/images.npy", 0.25)
    early = {"settings": settings, "curve": []}
    append_results(results, [early])
    there = vq_vae_curve._settings("ones", Options(), "/b/images.npy", 0.25)
    assert vq_vae_curve._find(results, there) == early
    left = {
        key: value
        for key, value in settings.items()
        if key not in ("images", "run_dir")
    }
    late = {"settings": left, "curve": []}
    append_results(results, [late])
    assert vq_vae_curve._find(results, there) == late
    assert vq_vae_curve._find(results, {**there, "seed": 1}) is None


def test_options_and_results_are_checked(tmp_path):
    with pytest.raises(ValueError, match="`contestants` must be of"):
        Options(contestants=("twos",))
    path = str(tmp_path / "none.jsonl")
    with pytest.raises(ValueError) as error:
        vq_vae_curve.compare(Options(results=path))
    assert str(error.value) == (
        f"`results` must hold a training. Received: results={path!r}."
    )

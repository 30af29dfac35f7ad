"""Tests of keras_xf.serving.publish, on bundles that take no time to save."""

import hashlib
import json
import os
import stat
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_xf
from keras_xf import serving
from keras_xf.text import ByteTokenizer
from keras_xf.text import load_tokenizer

X = tf.TensorSpec([None], tf.float32, "x")

# What is in a version when it is seen: the first file that is written, the
# last, and one between.
COMPLETE = (
    "variables/variables.index",
    "saved_model.pb",
    "assets.extra/keras_xf_export.json",
)


class Scale(tf.Module):
    """Multiplies by a weight."""

    def __init__(self, weight=3.0):
        super().__init__()
        self.weight = tf.Variable(weight)

    def double(self, x):
        return {"y": x * self.weight}


def make_bundle(function=None, request=(1.0, 2.0), **options):
    module = Scale()
    signature = tf.function(function or module.double, input_signature=[X])
    return serving.Bundle(
        module=module,
        signatures={"serving_default": signature},
        requests={"serving_default": {"x": np.array(request, "float32")}},
        **options,
    )


@pytest.fixture(scope="module")
def bundles():
    return {
        "tokens": make_bundle(
            tokenizers={"text": ByteTokenizer()}, limits={"top_k": None}
        ),
        "text": make_bundle(),
    }


def listing(folder):
    """Everything below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_versions_count_on_from_the_highest_of_all_bundles(bundles, tmp_path):
    first = serving.publish(bundles, tmp_path / "new" / "served")
    assert first == {
        "tokens": tmp_path / "new" / "served" / "tokens" / "1",
        "text": tmp_path / "new" / "served" / "text" / "1",
    }
    served = tmp_path / "new" / "served"
    # A server reads 007 as 7, and no number from the others.
    for name in ("text/007", "tokens/0x9", "text/.9", "text/latest"):
        (served / name).mkdir()
    assert serving.publish(bundles, served)["text"].name == "8"
    assert serving.publish(bundles, served, version=20)["text"].name == "20"
    assert serving.publish(bundles, served)["text"].name == "21"
    for name in ("tokens", "text"):
        for version in ("1", "8", "20", "21"):
            loaded = tf.saved_model.load(served / name / version)
            outputs = loaded.signatures["serving_default"](tf.constant([2.0]))
            np.testing.assert_array_equal(outputs["y"], [6.0])


def test_nothing_but_the_versions_is_left(bundles, tmp_path):
    serving.publish(bundles, tmp_path)
    assert listing(tmp_path) == sorted(
        ["tokens", "text", "tokens/1/assets/text"]
        + ["tokens/1/assets/text/tokenizer.json"]
        + [
            f"{bundle}/1{file}"
            for bundle in ("tokens", "text")
            for file in (
                "",
                "/assets",
                "/assets.extra",
                "/assets.extra/keras_xf_export.json",
                "/fingerprint.pb",
                "/saved_model.pb",
                "/variables",
                "/variables/variables.data-00000-of-00001",
                "/variables/variables.index",
            )
        ]
    )


def test_other_users_may_read_a_version(bundles, tmp_path):
    folder = serving.publish(bundles, tmp_path)["tokens"]
    (tmp_path / "plain").mkdir()
    plain = (tmp_path / "plain").stat().st_mode
    for path in [folder.parent, folder, folder / "assets.extra"]:
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain)


def test_the_manifest_says_what_it_is(bundles, tmp_path):
    origin = {"model": {"builder": "scale"}}
    folder = serving.publish(bundles, tmp_path, origin=origin)["tokens"]
    manifest = folder / "assets.extra" / "keras_xf_export.json"
    tokenizer = folder / "assets" / "text" / "tokenizer.json"
    assert json.loads(manifest.read_text()) == {
        "versions": {
            "keras_xf": keras_xf.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        **origin,
        "limits": {"top_k": None},
        "signatures": {
            "serving_default": {
                "inputs": {"x": {"dtype": "float32", "shape": [None]}},
                "outputs": {"y": {"dtype": "float32", "shape": [None]}},
            }
        },
        "assets_sha256": {
            "text/tokenizer.json": hashlib.sha256(
                tokenizer.read_bytes()
            ).hexdigest()
        },
    }
    assert isinstance(load_tokenizer(tokenizer.parent), ByteTokenizer)


def test_whoever_polls_never_sees_half_a_version(bundles, tmp_path):
    seen, incomplete = set(), set()
    stop = threading.Event()

    def poll():
        while not stop.is_set():
            for base in [tmp_path / name for name in bundles]:
                paths = list(base.iterdir()) if base.is_dir() else []
                seen.update(path for path in paths if path.name.isdecimal())
            incomplete.update(
                path
                for path in seen
                for file in COMPLETE
                if not (path / file).is_file()
            )

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        folders = [serving.publish(bundles, tmp_path) for _ in range(3)]
    finally:
        # Long enough to see the last one.
        time.sleep(0.05)
        stop.set()
        poller.join()
    assert seen == {path for pair in folders for path in pair.values()}
    assert not incomplete


def test_an_existing_version_is_never_overwritten(bundles, tmp_path):
    (tmp_path / "text" / "003").mkdir(parents=True)
    with pytest.raises(ValueError) as error:
        serving.publish(bundles, tmp_path, version=3)
    assert str(error.value) == (
        "`version` must not exist: versions are never overwritten. "
        f"Received: version=3, directory={str(tmp_path / 'text')!r}."
    )
    assert listing(tmp_path) == ["text", "text/003"]


def test_a_version_that_appears_meanwhile_is_not_overwritten(
    tmp_path, monkeypatch
):
    # Another export publishes its version 1 while this one is being saved.
    other = tmp_path / "text" / "1"
    bundle = make_bundle(lambda x: (other.mkdir(parents=True), {"y": x})[1])
    assert serving.publish({"text": bundle}, tmp_path)["text"].name == "2"
    assert listing(other) == []

    late = make_bundle(lambda x: ((other.parent / "9").mkdir(), {"y": x})[1])
    with pytest.raises(ValueError, match="`version` must not exist"):
        serving.publish({"text": late}, tmp_path, version=9)
    assert listing(other.parent / "9") == []


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_must_be_positive(bundles, tmp_path, version):
    with pytest.raises(ValueError) as error:
        serving.publish(bundles, tmp_path, version=version)
    assert str(error.value) == (
        f"`version` must be positive. Received: version={version}."
    )


def nondeterministic(x):
    # The clock: random numbers repeat where other tests have set seeds.
    return {"y": x + tf.cast(tf.timestamp() % 1.0, tf.float32)}


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (
            make_bundle(lambda x: {"y": tf.cast(x, tf.float64)}),
            "`bundles` must keep the serving contract. Received: violations="
            "['`serving_default`: output `y` has the dtype float64, not one "
            "of float32, int32, string.'].",
        ),
        (
            make_bundle(lambda x: {"y": tf.math.log(x)}, request=[0.0]),
            "`serving_default` output `y` must be finite. "
            "Received: served=[-inf].",
        ),
        (
            make_bundle(nondeterministic),
            "`serving_default` output `y` must equal that of the live "
            "signature. Received: served=",
        ),
    ],
)
def test_what_is_not_fit_to_serve_is_not_published(
    bundles, tmp_path, bundle, message
):
    with pytest.raises(ValueError) as error:
        serving.publish({**bundles, "bad": bundle}, tmp_path / "served")
    assert str(error.value).startswith(message)
    assert listing(tmp_path) == []


def test_two_directories_are_published_both_or_neither(
    bundles, tmp_path, monkeypatch
):
    rename = Path.rename

    def fail_for_text(source, target):
        if target == tmp_path / "text" / "1":
            raise OSError("disk on fire")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_for_text)
    with pytest.raises(OSError, match="disk on fire"):
        serving.publish(bundles, tmp_path)
    assert listing(tmp_path) == ["text", "tokens"]


def test_a_file_in_the_place_of_a_served_directory_is_told(bundles, tmp_path):
    (tmp_path / "text").write_text("")
    with pytest.raises(FileExistsError):
        serving.publish(bundles, tmp_path)
    assert listing(tmp_path) == ["text", "tokens"]


def test_a_directory_that_cannot_be_written_is_refused(bundles, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for export_dir, reason in [
        (file, "File exists"),
        (file / "served", "Not a directory"),
    ]:
        with pytest.raises(ValueError) as error:
            serving.publish(bundles, export_dir)
        assert str(error.value) == (
            "`export_dir` must be a directory that can be written. "
            f"Received: export_dir={str(export_dir)!r}, error={reason!r}."
        )


def test_what_killed_exports_left_is_ignored_and_cleared_away(
    bundles, tmp_path
):
    old, new = tmp_path / ".export-old", tmp_path / ".export-new"
    for folder in (old, new):
        (folder / "tokens" / "7").mkdir(parents=True)
    two_days_ago = time.time() - 48 * 60 * 60
    os.utime(old, (two_days_ago, two_days_ago))
    assert serving.publish(bundles, tmp_path)["tokens"].name == "1"
    assert not old.exists()
    # It could belong to an export that is still at work.
    assert new.exists()


def test_a_bundle_needs_a_request_for_each_signature():
    bundle = make_bundle()
    with pytest.raises(ValueError) as error:
        serving.Bundle(
            module=bundle.module, signatures=bundle.signatures, requests={}
        )
    assert str(error.value) == (
        "`requests` must hold one request for each signature. "
        "Received: requests=[], signatures=['serving_default']."
    )

"""Tests of keras_xf.data.standard_library."""

import os
import sysconfig
from pathlib import Path

import pytest

from keras_xf.data import standard_library
from keras_xf.data.standard_library import split_of
from keras_xf.data.standard_library import standard_library_files


@pytest.fixture(scope="module")
def files():
    return standard_library_files()


@pytest.fixture
def library(tmp_path):
    """A small library: five files to find, and what is to be left out."""
    names = {
        "sched.py": 300_000,
        "zoneinfo/__init__.py": 10,
        "bz2.py": 20,
        "abc.py": 30,
        "json/decoder.py": 40,
        "test/support.py": 50,
        "json/tests/test_decoder.py": 50,
        "idlelib/idle_test/test_grep.py": 50,
        "site-packages/package/module.py": 50,
        "dist-packages/package/module.py": 50,
        "json/__pycache__/decoder.py": 50,
        "encodings/cp865.py": 50,
        "pydoc_data/topics.py": 50,
        "_sysconfigdata__linux.py": 50,
        "config-3.13-linux/python-config.py": 50,
        "LICENSE.txt": 50,
        "empty.py": 0,
    }
    for name, size in names.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"#" * size)
    return tmp_path


def test_sources_alone_are_listed_in_order(library):
    assert standard_library_files(library) == {
        "train": [library / "abc.py", library / "json/decoder.py"],
        "validation": [library / "bz2.py"],
        "test": [library / "sched.py", library / "zoneinfo/__init__.py"],
    }
    assert standard_library_files(str(library)) == standard_library_files(
        library
    )


def test_split_is_that_of_the_first_release():
    # A result is comparable only with results on the same held-out files.
    for name, split in [
        ("sched.py", "test"),
        ("traceback.py", "test"),
        ("email/contentmanager.py", "test"),
        ("enum.py", "validation"),
        ("html/parser.py", "validation"),
        ("argparse.py", "train"),
        ("asyncio/events.py", "train"),
    ]:
        assert split_of(name) == split


def test_splits_have_their_shares():
    splits = [split_of(f"package/module_{i}.py") for i in range(20_000)]
    # Three standard deviations are 0.0046 and 0.0026.
    assert abs(splits.count("test") / 20_000 - 0.05) < 0.0047
    assert abs(splits.count("validation") / 20_000 - 0.015) < 0.0027


def test_this_python_has_enough_of_each_split(files):
    folder = Path(sysconfig.get_path("stdlib"))
    assert list(files) == ["train", "validation", "test"]
    sizes = {
        split: sum(path.stat().st_size for path in paths)
        for split, paths in files.items()
    }
    assert sizes["train"] > 4_000_000
    assert sizes["validation"] > 50_000
    assert sizes["test"] >= 200_000
    every = [path for paths in files.values() for path in paths]
    assert len(set(every)) == len(every)
    assert folder / "argparse.py" in files["train"]
    assert folder / "sched.py" in files["test"]


def test_too_few_test_bytes_are_an_error(library):
    os.truncate(library / "sched.py", 199_989)
    with pytest.raises(ValueError) as error:
        standard_library_files(library)
    assert str(error.value) == (
        "`folder` must hold 200000 bytes of test files. "
        f"Received: folder='{library}', test_bytes=199999."
    )
    os.truncate(library / "sched.py", 199_990)
    standard_library_files(library)


def test_a_split_without_files_is_an_error(library):
    (library / "bz2.py").unlink()
    with pytest.raises(ValueError) as error:
        standard_library_files(library)
    assert str(error.value) == (
        "`folder` must hold source files for the validation split. "
        f"Received: folder='{library}'."
    )


def test_default_folder_is_the_running_python(library, monkeypatch):
    monkeypatch.setattr(
        standard_library.sysconfig, "get_path", {"stdlib": library}.get
    )
    assert standard_library_files() == standard_library_files(library)

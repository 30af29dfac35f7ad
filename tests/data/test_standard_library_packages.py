"""Tests of keras_xf.data.standard_library_packages."""

import collections

import pytest

from keras_xf.data.standard_library_packages import standard_library_packages


@pytest.fixture
def library(tmp_path):
    names = [
        *(f"one/module_{n}.py" for n in range(10)),
        *(f"two/inner/module_{n}.py" for n in range(4)),
        *(f"few/module_{n}.py" for n in range(3)),
        # In no package, or left out.
        *(f"module_{n}.py" for n in range(9)),
        *(f"one/tests/test_{n}.py" for n in range(9)),
        *(f"site-packages/other/module_{n}.py" for n in range(9)),
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("pass\n")
    (tmp_path / "few" / "empty.py").touch()
    return tmp_path


def test_each_package_has_its_share_of_each_split(library):
    files = standard_library_packages(library, min_files=4)
    assert {
        split: collections.Counter(label for label, _ in some)
        for split, some in files.items()
    } == {
        "train": {"one": 7, "two": 2},
        "validation": {"one": 1, "two": 1},
        "test": {"one": 2, "two": 1},
    }
    paths = [path for some in files.values() for _, path in some]
    assert len(set(paths)) == 14
    for some in files.values():
        assert some == sorted(some)
        for label, path in some:
            assert path.relative_to(library).parts[0] == label
            assert path.is_file()


def test_the_split_is_that_of_the_first_release(library):
    # A result is comparable only with results on the same held-out files.
    files = standard_library_packages(str(library), min_files=4)
    names = {
        split: [path.relative_to(library).as_posix() for _, path in some]
        for split, some in files.items()
    }
    assert names["test"] == [
        "one/module_2.py",
        "one/module_7.py",
        "two/inner/module_2.py",
    ]
    assert names["validation"] == ["one/module_1.py", "two/inner/module_3.py"]


def test_files_of_a_package_are_enough(library):
    files = standard_library_packages(library, min_files=3)
    assert {label for label, _ in files["test"]} == {"few", "one", "two"}
    with pytest.raises(ValueError) as error:
        standard_library_packages(library, min_files=5)
    assert str(error.value) == (
        "`folder` must hold two packages of `min_files` source files. "
        f"Received: folder={str(library)!r}, min_files=5, packages=['one']."
    )
    with pytest.raises(ValueError) as error:
        standard_library_packages(library, min_files=2)
    assert str(error.value) == (
        "`min_files` must be at least 3. Received: min_files=2."
    )


def test_this_python_has_several_packages():
    files = standard_library_packages()
    labels = {label for label, _ in files["train"]}
    assert labels >= {"asyncio", "email", "importlib", "unittest", "xml"}
    for split in ("validation", "test"):
        assert {label for label, _ in files[split]} == labels
    splits = [{path for _, path in some} for some in files.values()]
    assert len(set.union(*splits)) == sum(map(len, splits))

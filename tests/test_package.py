"""What the package promises to those who install it."""

import ast
import email
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import keras_xf

ROOT = Path(__file__).parent.parent
HEAVY = ("matplotlib", "official", "tensorflow_text", "tf_keras")


def run(code, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        **kwargs,
    ).stdout


def test_import_needs_no_extra():
    # A module that is None in `sys.modules` cannot be imported. Keras itself
    # takes matplotlib where it finds it, and does without where not.
    printed = run(
        "import sys; "
        f"sys.modules.update(dict.fromkeys({HEAVY})); "
        "import keras_xf, keras_xf.callbacks, keras_xf.data, "
        "keras_xf.data.windows, keras_xf.decoding, keras_xf.metrics, "
        "keras_xf.optimizers, keras_xf.serving, keras_xf.text; "
        "print(keras_xf.layers.SelfAttention.__name__)",
        cwd=ROOT,
    )
    assert printed.strip() == "SelfAttention"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # From a copy: building writes into the folder.
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "keras_xf",
        source / "keras_xf",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (source / "apps").mkdir()
    (source / "apps" / "__init__.py").touch()
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            source,
        ],
        check=True,
        capture_output=True,
    )
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    version = keras_xf.__version__
    assert folders == {"keras_xf", f"keras_xf-{version}.dist-info"}
    assert "keras_xf/py.typed" in names
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_xf").rglob("*.py")
    }
    assert sources <= set(names)


def test_wheel_needs_the_core_alone(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith("/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    needed = [
        requirement.split(">=")[0]
        for requirement in metadata.get_all("Requires-Dist")
        if "extra ==" not in requirement
    ]
    assert needed == ["tensorflow", "keras", "absl-py", "numpy"]
    assert metadata["Requires-Python"] == ">=3.11"


def test_wheel_works_without_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    place = run(
        "import keras_xf.layers; print(keras_xf.layers.__file__)",
        cwd=tmp_path,
    )
    assert place.startswith(str(tmp_path))


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "keras_xf").rglob("*.py")),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            assert node.name.startswith("_") or ast.get_docstring(node), (
                node.name
            )

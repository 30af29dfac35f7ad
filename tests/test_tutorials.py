"""Runs the notebooks at a small size."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

TUTORIALS = Path(__file__).parent.parent / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def execute():
    path = TUTORIALS / "execute.py"
    spec = importlib.util.spec_from_file_location("execute", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
# The kernel's process, not this one, is what is tested here.
@pytest.mark.filterwarnings("default")
def test_notebook_runs(path, execute):
    notebook = execute(path, size="small")
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    kinds = [output.output_type for output in outputs]
    assert "error" not in kinds
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_saved_with_its_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    (parameters,) = (
        cell
        for cell in notebook.cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    assert 'SIZE = "full"' in parameters.source
    # Every cell that shows something was run: pictures are there.
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any("image/png" in str(cell.outputs) for cell in code)
    assert "error" not in {o.output_type for c in code for o in c.outputs}

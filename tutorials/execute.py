"""Runs the notebooks at full size and saves them with their outputs.

Usage:

    python tutorials/execute.py [notebook ...]
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path, size: str | None = None) -> nbformat.NotebookNode:
    """Runs a notebook from the project's folder.

    Args:
        path: The notebook. It is left as it is.
        size: Replaces the value of `SIZE` in the cell that is tagged
            `parameters`.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    if size is not None:
        (cell,) = (
            cell
            for cell in notebook.cells
            if "parameters" in cell.metadata.get("tags", [])
        )
        cell.source = f"SIZE = {size!r}"
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER.parent)}},
        # When a cell ran is nobody's business, and differs each time.
        record_timing=False,
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = [
            output for output in cell.outputs if not _is_noise(output)
        ]
    return notebook


def _is_noise(output):
    # What TensorFlow writes before its log levels are known, and of models that
    # are loaded to be served: nobody asks them for gradients.
    return output.get("text", "").startswith(
        ("WARNING: All log messages", "WARNING:absl:Importing a function")
    )


def main(names: list[str]) -> None:
    """Runs the named notebooks, or all."""
    paths = [Path(name) for name in names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        print(path.name, flush=True)
        nbformat.write(execute(path), path)


if __name__ == "__main__":
    main(sys.argv[1:])
